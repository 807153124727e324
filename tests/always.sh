#!/usr/bin/env bash
# Who waits for the disk under `appendfsync always`: the module against the host's own log, on this disk and on one whose
# fsync takes FSYNC_MS (10) longer. First plain cache GETs of 50 clients beside durable writers, then durable writes.
# Run by `make always`. REDIS_SERVER is the server, SECONDS_EACH (3) is how long each measurement takes, about; of the
# ROUNDS (5) of durable writes the one with the middle throughput counts.
set -euo pipefail
cd "$(dirname "$0")/.."
server=${REDIS_SERVER:-redis-server} ms=${FSYNC_MS:-10} each=${SECONDS_EACH:-3} rounds=${ROUNDS:-5}
work=$(mktemp -d)
module=$PWD/target/release/libredis_persist.so
ours=7821 theirs=7822
trap 'jobs -p | xargs -r kill 2>/dev/null; for port in $ours $theirs; do redis-cli -p $port shutdown nosave >/dev/null 2>&1 || true; done; rm -rf "$work"' EXIT
cc -shared -fPIC -O1 -DREAL_CLOCK -o "$work/faults.so" tests/preload/faults.c

start() { # slowness in ms
    mkdir -p "$work/$1/ours" "$work/$1/theirs"
    local common=(--save '' --daemonize yes --logfile log)
    local slow=()
    [ "$1" = 0 ] || slow=(LD_PRELOAD="$work/faults.so" SLOW_FSYNC_MS="$1")
    (cd "$work/$1/ours" && env "${slow[@]}" "$server" --port $ours "${common[@]}" \
        --dir "$work/$1/ours" --loadmodule "$module" appendfsync always >/dev/null)
    (cd "$work/$1/theirs" && env "${slow[@]}" "$server" --port $theirs "${common[@]}" \
        --dir "$work/$1/theirs" --appendonly yes --appendfsync always >/dev/null)
    # Redis 7.0 holds nobody back in its first 10 seconds.
    sleep 11
}
stop() { for port in $ours $theirs; do redis-cli -p $port shutdown nosave >/dev/null 2>&1 || true; done; sleep 0.5; }

# Requests a second, and their p50 and p99 in ms: port, clients, pipeline, command
bench() {
    local port=$1 clients=$2 pipeline=$3 rate n
    shift 3
    run() { redis-benchmark -p "$port" -c "$clients" -P "$pipeline" -n "$1" --csv "${@:2}" 2>/dev/null | tail -1 | tr -d '"' | cut -d, -f2,5,7; }
    rate=$(run $((clients * pipeline * 20)) "$@" | cut -d. -f1)
    n=$((rate * each > clients * pipeline ? rate * each : clients * pipeline))
    run "$n" "$@" | tr , ' '
}
row() { printf '| %s | %s/s | %s ms | %s ms |\n' "$@"; }
median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }
writers() { redis-benchmark -p "$1" -c 8 -P "$2" -n 1000000000 -q "${@:3}" >/dev/null 2>&1 & writers=$!; sleep 1; }
# redis-benchmark knows no transactions.
transactions() { python3 -c '
import socket, sys, threading
def work():
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    replies = client.makefile("rb")
    while True:
        client.sendall(b"MULTI\r\nPERSIST.SET k v\r\nEXEC\r\n")
        for _ in range(4):
            replies.readline()
for _ in range(8):
    threading.Thread(target=work).start()
' "$1" & writers=$!; sleep 1; }
# The p50 and p99 of the last 512 fsyncs, in ms.
fsyncs() { redis-cli -p "$1" persist.info | tr -d '\r' | awk -F: '/^fsync_latency_us_p(50|99):/ { printf "%.1f ", $2 / 1000 }'; }
no_more() { kill $writers; wait $writers 2>/dev/null || true; sleep 0.5; }

for slow in "$ms" 0; do
    start "$slow"
    printf '\n%s, fsync %s ms longer\n\n| what | requests | p50 | p99 |\n|---|---:|---:|---:|\n' "$("$server" --version | cut -d' ' -f1-3)" "$slow"
    row "cache GET, nobody writes" $(bench $ours 50 1 GET cache)
    writers $ours 1 PERSIST.SET k v
    row "cache GET beside 8 durable writers" $(bench $ours 50 1 GET cache)
    no_more
    writers $ours 16 PERSIST.SET k v
    row "cache GET beside 8 that pipeline" $(bench $ours 50 1 GET cache)
    no_more
    writers $ours 1 EVAL "return redis.call('PERSIST.SET', 'k', 'v')" 0
    row "cache GET beside 8 with EVAL" $(bench $ours 50 1 GET cache)
    no_more
    transactions $ours
    row "cache GET beside 8 with EXEC" $(bench $ours 50 1 GET cache)
    no_more
    printf '| an fsync meanwhile | | %s ms | %s ms |\n' $(fsyncs $ours)
    writers $theirs 1 SET k v
    row "host's GET beside 8 writers, its own log" $(bench $theirs 50 1 GET cache)
    no_more
    sleep 11
    for load in 1:1 8:1 50:1 500:1 50:16; do
        IFS=: read -r clients pipeline <<<"$load"
        what="SET of $clients"
        [ "$pipeline" = 1 ] || what+=", pipeline $pipeline"
        # In turns: what else the machine does hits both.
        for _ in $(seq "$rounds"); do
            bench $ours "$clients" "$pipeline" PERSIST.SET k v >>"$work/ours.$slow.$load"
            bench $theirs "$clients" "$pipeline" SET k v >>"$work/theirs.$slow.$load"
        done
        row "$what, module" $(median "$work/ours.$slow.$load")
        row "$what, host" $(median "$work/theirs.$slow.$load")
    done
    stop
done
