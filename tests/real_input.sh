#!/usr/bin/env bash
# The main job on real input: KEYS keys (2,000,000 if not said) through
# redis-cli --pipe, BGSAVE, REWRITE, more writes, kill -9, restart, and a check
# of every key, from the log and then from the snapshot alone.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${KEYS:-2000000}
server=${REDIS_SERVER:-redis-server}
bin=target/release
dir=$(mktemp -d)
port=$(( 20000 + RANDOM % 10000 ))
cli() { redis-cli -p "$port" "$@"; }
field() { cli INFO persist | tr -d '\r' | sed -n "s/^persist_$1://p"; }
wait_for() { until [ "$(field "$1")" = "$2" ]; do sleep 0.1; done; }
start() {
    "$server" --port "$port" --save "" --appendonly no --dir "$dir" --daemonize yes \
        --pidfile "$dir/pid" --logfile "$dir/log" --loadmodule "$PWD/$bin/libredis_persist.so" "$@" >/dev/null
    until cli PING >/dev/null 2>&1; do sleep 0.1; done
}
finish() { kill -9 "$(cat "$dir/pid")" 2>/dev/null && rm -rf "$dir"; }
trap finish EXIT
more() { seq 20000 | awk -v verb="$1" '{ printf "PERSIST.%s more:%d%s\n", verb, $1, verb == "SET" ? " value-" $1 : "" }'; }

start
"$bin/persist-generate" --keys "$keys" | cli --pipe | tail -1
cli PERSIST.BGSAVE
wait_for rdb_bgsave_in_progress 0
[ "$(field rdb_last_bgsave_status)" = ok ]
cli PERSIST.REWRITE
wait_for aof_rewrite_in_progress 0
[ "$(field aof_last_bgrewrite_status)" = ok ]
[ "$(more SET | cli | sort | uniq -c | awk '{ print $1 $2 }')" = 20000OK ]
# What waits behind a running fsync is the one thing that kill -9 may take.
wait_for at_risk_bytes 0
kill -9 "$(cat "$dir/pid")"
start
grep 'DB loaded' "$dir/log" | tail -1
"$bin/persist-check-data" -p "$port" --keys "$keys"
more GET | cli | awk -v ok=1 '$0 != "value-" NR { ok = 0 } END { print NR " later writes: " (ok && NR == 20000 ? "all there" : "NOT all there"); exit !(ok && NR == 20000) }'
# The snapshot alone: it was taken before the later writes.
kill -9 "$(cat "$dir/pid")"
sleep 0.2
mv "$dir/persist-aof" "$dir/log-aside"
start --persist.appendonly no
grep 'DB loaded' "$dir/log" | tail -1
"$bin/persist-check-data" -p "$port" --keys "$keys"
