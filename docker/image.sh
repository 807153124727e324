#!/usr/bin/env bash
# Builds the image of the module on a host, redis-persist:redis-8 from redis:8 if not said:
#
#   HOST_IMAGE=valkey/valkey:9 docker/image.sh      makes redis-persist:valkey-9
#
# IMAGE is another name for it, LABEL a label of it, QUICK=1 spares the optimizer.
# Where the engine reaches no registry, docker/stand-in.sh makes what it builds from, and says so.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
host=${HOST_IMAGE:-redis:8}
builder=${BUILD_IMAGE:-rust:1-bookworm}
name=${host##*/}
image=${IMAGE:-redis-persist:${name/:/-}}

fail() { printf 'image: %s\n' "$*" >&2; exit 1; }
docker info >/dev/null 2>&1 || fail "no Docker engine answers (docker info)"

for base in "$builder" "$host"; do
    if made=$(docker image inspect --format '{{index .Config.Labels "org.redis-persist.stand-in.made"}}' "$base" 2>/dev/null); then
        stand_in=$(docker image inspect --format '{{index .Config.Labels "org.redis-persist.stand-in"}}' "$base")
        if [ -n "$stand_in" ] && [ "$made" != "$(bash "$here/stand-in.sh" --made)" ]; then
            bash "$here/stand-in.sh" "$base"
        fi
        continue
    fi
    said=$(docker pull --quiet "$base" 2>&1) && continue
    # Only a registry that can't be reached is stood in for. One that doesn't know the name is right.
    case $said in
        *'no such host'* | *timeout* | *refused* | *unreachable* | *'deadline exceeded'* | *'name resolution'*) ;;
        *) fail "$base: $said" ;;
    esac
    printf 'image: no registry (%s): %s will be a stand-in\n' "$said" "$base"
    bash "$here/stand-in.sh" "$base"
done
options=()
[ -z "${LABEL:-}" ] || options+=(--label "$LABEL")
[ -z "${QUICK:-}" ] || options+=(--build-arg CARGO_PROFILE_RELEASE_LTO=off --build-arg CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16)
docker build --quiet --file "$here/Dockerfile" --build-arg HOST_IMAGE="$host" --build-arg BUILD_IMAGE="$builder" \
    --tag "$image" "${options[@]}" "$(dirname "$here")" >/dev/null || fail "$image could not be built"
echo "image: $image"
