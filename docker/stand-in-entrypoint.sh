#!/bin/sh
# What a stand-in (docker/stand-in.sh) does at its start, as the images that it stands for do: options or a .conf file
# alone are for the server; root becomes the server's user; protected-mode is off unless somebody turns it on; and
# Redis 8, but no other, gets what lies in its folder of modules.
set -e

server=$(command -v redis-server || command -v valkey-server)
server=${server##*/}
case $1 in
    -* | *.conf) set -- "$server" "$@" ;;
esac
if [ "$1" = "$server" ]; then
    if [ "$(id -u)" = 0 ]; then
        chown -R 999:999 .
        exec setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
    fi
    umask 0077
    shift
    case ${1:-} in
        *.conf)
            conf=$1
            shift
            grep -q '^ *protected-mode' "$conf" || set -- --protected-mode no "$@"
            set -- "$conf" "$@"
            ;;
        *) set -- --protected-mode no "$@" ;;
    esac
    set -- "$server" "$@"
    # Redis 8:
    for module in /usr/local/lib/redis/modules/*.so; do
        if [ -x "$module" ]; then set -- "$@" --loadmodule "$module"; fi
    done
    # End of Redis 8.
fi
exec "$@"
