#!/usr/bin/env bash
# Starts the server of compose.yml, has its client write, kills the server and shows what survived. The server goes on
# running: docker/up.sh down ends it, and keeps the carts; docker/up.sh down --volumes removes them, too.
set -euo pipefail
cd "$(dirname "$0")"

name=${HOST_IMAGE:-redis:8}
name=${name##*/}
export IMAGE=${IMAGE:-redis-persist:${name/:/-}}
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
compose+=(--project-name "${PROJECT:-redis-persist}")

if [ "${1:-}" = down ]; then
    shift
    exec "${compose[@]}" down --remove-orphans "$@"
fi

# Waits until the server is healthy.
start() {
    "${compose[@]}" up --detach server
    local id state end=$((SECONDS + 120))
    id=$("${compose[@]}" ps --quiet server)
    while state=$(docker inspect --format '{{.State.Health.Status}}' "$id"); [ "$state" != healthy ]; do
        if [ "$SECONDS" -gt "$end" ]; then
            docker logs --tail 20 "$id" >&2
            exit 1
        fi
        sleep 0.5
    done
}

client() { "${compose[@]}" run --rm --no-deps demo "$@"; }

start
client write
client show
echo "kill -9"
"${compose[@]}" kill -s KILL server
start
client show
cat <<END
The cache is gone, the carts are not. The server runs on port ${PORT:-6379}: redis-cli -p ${PORT:-6379} HGETALL cart:1
make down ends it.
END
