#!/usr/bin/env bash
# Starts a redis-server with the module in the foreground. Arguments are handed on to redis-server.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
module=${PERSIST_MODULE:-${CARGO_TARGET_DIR:-$root/target}/release/libredis_persist.so}
case $module in /*) ;; *) module=$PWD/$module ;; esac
data=$root/data
server=${REDIS_SERVER:-redis-server}

[ -f "$module" ] || { echo "run: $module is missing; make build" >&2; exit 1; }
mkdir -p "$data"

port=${PORT:-6379}
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done

# Said once the server answers, so that it stands below what the server logs at start.
(
    until redis-cli -p "$port" ping >/dev/null 2>&1; do
        kill -0 $$ 2>/dev/null || exit 0
        sleep 0.1
    done
    cat <<END

redis-server with redis-persist on port $port, data in $data. Ctrl-C ends it. In another terminal:

    redis-cli -p $port PERSIST.SET cart:42 '3 apples'
    redis-cli -p $port PERSIST.GET cart:42

END
) &
exec "$server" --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$data" \
    --loadmodule "$module" --persist.dir "$data" "$@"
