#!/usr/bin/env bash
# Makes images under the names of public ones, of Debian's packages, for machines whose Docker engine reaches no image
# registry. They keep the names' promises as far as docker/Dockerfile, docker/compose.yml and tests/docker.rs rely on
# them: the server in PATH, the user 999, /data, docker-entrypoint.sh. The label org.redis-persist.stand-in tells them
# from real ones; `docker rmi NAME` makes room for those.
#
#   docker/stand-in.sh --made       what the label org.redis-persist.stand-in.made says of those that it makes today
#   docker/stand-in.sh NAME...      redis:7, redis:8, valkey/valkey:8, valkey/valkey:9 or rust:1-bookworm
#
# Debian's packages come from the mirror of this machine, Valkey 9 from the Python package index (tests/hosts.sh).
# rust:1-bookworm gets this machine's own toolchain, and the crates of Cargo.lock, so that building in it needs no network.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
label=org.redis-persist.stand-in
# By what it was made: image.sh makes it again when that has changed.
made=$(cat "$here/stand-in.sh" "$here/stand-in-entrypoint.sh" | sha256sum | cut -c 1-16)

if [ "${1:-}" = --made ]; then
    echo "$made"
    exit
fi

say() { printf 'stand-in: %s\n' "$*"; }
fail() { printf 'stand-in: %s\n' "$*" >&2; exit 1; }

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    grep -m 1 -E '/debian/?$') || mirror=http://deb.debian.org/debian

if ! command -v mmdebstrap >/dev/null; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    say "installing mmdebstrap"
    "${as_root[@]}" apt-get update -q >/dev/null 2>&1 || say "apt-get update failed, trying with the lists at hand"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends mmdebstrap \
        </dev/null >"$temp/log" 2>&1 || fail "mmdebstrap is needed: $(tail -n 2 "$temp/log")"
fi

# system release packages tar hook...: a small system with these packages.
system() {
    local release=$1 packages=$2 tar=$3 hooks=()
    shift 3
    local hook
    for hook; do hooks+=("$hook"); done
    mmdebstrap --quiet --variant=essential --include="$packages" --aptopt='Acquire::Languages "none"' \
        --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "${hooks[@]}" "$release" "$tar" "${mirror%/}" >"$temp/log" 2>&1 ||
        fail "Debian $release could not be installed from $mirror: $(grep -m 3 '^E:' "$temp/log")"
}

# host image release kind packages hook...
host() {
    local image=$1 release=$2 kind=$3 packages=$4
    shift 4
    # The user is there before the packages, which would make one with another number.
    local user="printf '%s:x:999:999::/data:/usr/sbin/nologin\n' $kind >>\"\$1\"/etc/passwd; printf '%s:x:999:\n' $kind >>\"\$1\"/etc/group"
    cp "$here/stand-in-entrypoint.sh" "$temp/entrypoint"
    [ "$image" = redis:8 ] || sed -i '/# Redis 8:$/,/# End of Redis 8/d' "$temp/entrypoint"
    system "$release" "$packages" "$temp/system.tar" --essential-hook="$user" "$@" \
        --customize-hook="install -D -m 755 '$temp/entrypoint' \"\$1\"/usr/local/bin/docker-entrypoint.sh" \
        --customize-hook='install -d -o 999 -g 999 "$1"/data'
    docker import --change 'WORKDIR /data' --change 'VOLUME /data' --change 'EXPOSE 6379' \
        --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change "CMD [\"$kind-server\"]" \
        --change "LABEL $label=$image $label.made=$made" "$temp/system.tar" "$image" >/dev/null
}

builder() {
    local image=$1 toolchain registry
    toolchain=$(rustc --print sysroot)
    cargo fetch --quiet --locked --manifest-path "$root/Cargo.toml"
    registry=${CARGO_HOME:-$HOME/.cargo}/registry
    system bookworm gcc,libc6-dev,clang,libclang-dev,ca-certificates "$temp/system.tar" \
        --customize-hook='mkdir -p "$1"/usr/local/rust/lib "$1"/usr/local/cargo/registry' \
        --customize-hook="cp -a '$toolchain/bin' \"\$1\"/usr/local/rust/" \
        --customize-hook="cp -a '$toolchain'/lib/*.so* '$toolchain/lib/rustlib' \"\$1\"/usr/local/rust/lib/" \
        --customize-hook="cp -a '$registry/index' '$registry/cache' \"\$1\"/usr/local/cargo/registry/"
    docker import --change 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true' --change "LABEL $label=$image $label.made=$made" \
        "$temp/system.tar" "$image" >/dev/null
}

for image; do
    say "making $image of Debian's packages"
    case $image in
        redis:7) host "$image" bookworm redis redis-server,redis-tools ;;
        redis:8) host "$image" trixie redis redis-server,redis-tools ;;
        valkey/valkey:8) host "$image" trixie valkey valkey-server,valkey-tools ;;
        valkey/valkey:9)
            bash "$root/tests/hosts.sh" valkey-9.1
            host "$image" trixie valkey valkey-tools --customize-hook="install -m 755 \
                '$root/.cache/hosts/valkey-9.1/valkey-server' \"\$1\"/usr/local/bin/valkey-server"
            ;;
        rust:1-bookworm) builder "$image" ;;
        *) fail "no stand-in for '$image'; there are redis:7, redis:8, valkey/valkey:8, valkey/valkey:9, rust:1-bookworm" ;;
    esac
    rm -f "$temp/system.tar"
done
