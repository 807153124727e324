#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks. Does nothing when all is present.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# Debian's gcc comes without the C library's headers and start files when recommended packages are left out.
links_c() {
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - >/dev/null 2>&1
}

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    (PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true) | grep -q 'libclang[-.0-9]*\.so' && return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null
}

# With cargo from rustup but a shell that has not read its environment yet.
if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    fail "cargo is in ~/.cargo/bin, which is not in PATH: run '. ~/.cargo/env' and try again"
fi
have cargo || fail "cargo is missing; see https://rustup.rs"
# The distribution's own cargo is often years old, and its error wouldn't say so.
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
found=$(cargo --version | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
if [ -n "$found" ] && [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
    fail "cargo $found is too old, $needed is needed: rustup update, or see https://rustup.rs"
fi

packages=()
have cc || packages+=(gcc)
# Applications in Python are part of the tests only.
if [ -n "${WITH_PYTHON:-}" ] && ! python3 -c 'import ensurepip' >/dev/null 2>&1; then packages+=(python3-venv); fi
links_c || packages+=(libc6-dev)
have clang || packages+=(clang)
have_libclang || packages+=(libclang-dev)
server_package=
if ! have "${REDIS_SERVER:-redis-server}"; then
    [ -z "${REDIS_SERVER:-}" ] || fail "REDIS_SERVER=$REDIS_SERVER cannot be run"
    packages+=(redis-server)
    server_package=yes
fi
if ! have redis-cli || ! have redis-benchmark; then packages+=(redis-tools); fi

if [ "${#packages[@]}" -gt 0 ]; then
    have apt-get || fail "missing: ${packages[*]} (Debian's names); install them with this system's package manager"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "missing: ${packages[*]}; install as root: apt-get install ${packages[*]}"
        as_root=(sudo)
    fi
    say "installing ${packages[*]} ${as_root[*]:+with sudo}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    "${as_root[@]}" apt-get update -q || say "apt-get update failed, trying with the lists at hand"
    "${as_root[@]}" apt-get install -q -y --no-install-recommends "${packages[@]}" </dev/null ||
        fail "could not install: ${packages[*]}"
    if [ -n "$server_package" ]; then
        # The package starts a server of its own, and at every boot. Only the program is wanted here.
        if [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl disable --now redis-server >/dev/null 2>&1 || true
        elif [ -x /etc/init.d/redis-server ]; then
            "${as_root[@]}" /etc/init.d/redis-server stop >/dev/null 2>&1 || true
        fi
        say "stopped the redis-server service that the package starts"
    fi
fi

server=${REDIS_SERVER:-redis-server}
version=$("$server" --version | sed -n 's/.*[ v]=\{0,1\}\([0-9][0-9]*\)\.[0-9][0-9]*\.[0-9].*/\1/p')
if [ -n "$version" ] && [ "$version" -lt 7 ]; then
    fail "$server is older than 7.0: $("$server" --version). Set REDIS_SERVER to a newer redis-server or valkey-server"
fi
