#!/usr/bin/env bash
# Runs tests/docker.rs where a Docker engine answers, and fails where none does; with --if-any, says so and goes on, unless
# REQUIRE_DOCKER is set. Arguments behind that go to cargo test.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

if_any=
if [ "${1:-}" = --if-any ]; then
    if_any=yes
    shift
fi
if ! said=$(docker info 2>&1 >/dev/null); then
    echo "No Docker engine answers here (docker info: ${said:-no such command}): tests/docker.rs was NOT run." >&2
    [ -n "$if_any" ] && [ -z "${REQUIRE_DOCKER:-}" ]
    exit
fi
cargo test --test docker "$@" -- --test-threads 2
status=$?
# What a test that was killed has left behind.
label=label=org.redis-persist.test
docker ps -aq --filter "$label" | xargs -r docker rm -f -v >/dev/null
docker volume ls -q --filter "$label" | xargs -r docker volume rm -f >/dev/null
exit "$status"
