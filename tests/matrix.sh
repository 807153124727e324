#!/usr/bin/env bash
# Runs the tests on several hosts, which tests/hosts.sh fetches, and tells at the end how each did.
#
#   tests/matrix.sh [--part] [HOST...]      all hosts if none is named
#
# On each host: everything that starts a server, with the server's own number of I/O threads. From version 8 on, I/O
# threads send replies by themselves; there, what is about durability and about who waits for whom is run twice more with
# four of them: with the host's `appendfsync always`, as the README advises then, and without. --part leaves out the latter,
# and what takes long or hardly meets the host: kill after kill, the offline tool, applications in Python, streams of random
# commands.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

hosts=()
part=
for word; do
    case $word in
        --part) part=yes ;;
        *) hosts+=("$word") ;;
    esac
done
[ ${#hosts[@]} -gt 0 ] || hosts=(redis-7.0 redis-8.0 valkey-8.1 valkey-9.1)

tests() { printf -- '--test %s ' "$@"; }
one=$(tests blocking commands durability hostile info moving no_lock_in order routing security settings sync)
threads=$(tests blocking collisions durability held order routing scripts sync torture clients)
if [ -n "$part" ]; then
    # Streams of thousands are for redis-7.0 and the whole matrix.
    export COMMANDS=${COMMANDS:-500}
    threads=$(tests order sync)
else
    one="$one $(tests backup collisions corruption held lifecycle room scripts verify torture clients) -p redis-persist-cli $(tests check diff export repair reseal server)"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
summary=()

# run HOST THREADS APPENDFSYNC ARGS...
run() {
    local host=$1 threads=$2 fsync=$3 begin=$SECONDS how counts status
    shift 3
    how="$host${threads:+, io-threads $threads}${fsync:+, appendfsync $fsync}"
    echo "== $how"
    REDIS_SERVER=$PWD/.cache/hosts/$host/${host%-*}-server IO_THREADS=$threads HOST_APPENDFSYNC=$fsync \
        cargo test --no-fail-fast -p redis-persist "$@" </dev/null >"$log" 2>&1
    status=$?
    grep -E '^( *Running |test result:|test .* \.\.\. FAILED|error)' "$log"
    counts=$(awk '/^test result:/ { p += $4; f += $6 } END { printf "%d passed, %d failed", p, f }' "$log")
    # What failed, in full: nothing else tells why.
    if [ "$status" -ne 0 ]; then
        failed=1
        sed -n '/^failures:/,/^test result:/p' "$log"
    fi
    summary+=("$(printf '%-45s %s, %d s' "$how" "$counts" $((SECONDS - begin)))")
}

bash tests/hosts.sh "${hosts[@]}" || exit 1
# Lists of arguments, split on purpose.
# shellcheck disable=SC2086
for host in "${hosts[@]}"; do
    run "$host" '' '' $one
    case $host in
        redis-7.*) continue ;;
    esac
    run "$host" 4 always $threads
    [ -n "$part" ] || run "$host" 4 '' $threads
done

echo
echo '== hosts'
printf '%s\n' "${summary[@]}"
exit "$failed"
