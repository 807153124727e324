#!/usr/bin/env bash
# A backup of the durable keys of a running server: takes a snapshot and copies it into FOLDER, which a server can be
# started on. Needs to read the server's persist.dir: run it on the server's machine, or in its container.
#
#     backup.sh FOLDER [redis-cli options]        backup.sh /backups/$(date +%F) -p 6380
#
# FOLDER is made, and must not exist. It appears under its name only once it is whole, checked (if redis-persist is
# found; REDIS_PERSIST says where) and on disk. TIMEOUT (3600) is how long the snapshot may take, in seconds.
set -euo pipefail

fail() { echo "backup.sh: $*" >&2; exit 1; }
[ $# -ge 1 ] || fail "usage: backup.sh FOLDER [redis-cli options]"
# As a shell completes it; what is made first stands beside it, not inside.
folder=$(printf '%s' "$1" | sed 's|\(.\)/*$|\1|')
shift
program=${REDIS_CLI:-$(command -v redis-cli || command -v valkey-cli)} ||
    fail "neither redis-cli nor valkey-cli is in the path; REDIS_CLI says where"
cli=("$program" "$@")
[ ! -e "$folder" ] || fail "$folder exists already"

# An answer of the server; an error ends the backup.
ask() {
    local answer
    answer=$("${cli[@]}" --raw "$@") || fail "the server doesn't answer"
    case $answer in
        *ERR\ * | *NOAUTH* | *NOPERM* | *MISCONF*) fail "$*: $answer" ;;
    esac
    printf '%s\n' "$answer" | tr -d '\r'
}
field() { ask PERSIST.INFO | sed -n "s/^$1://p"; }
setting() { ask CONFIG GET "$1" | sed -n 2p; }

dir=$(setting persist.dir)
[ -n "$dir" ] || dir=$(setting dir)
file=$(setting persist.dbfilename)

# One that is under way may have begun before what is to be in the backup.
end=$((SECONDS + ${TIMEOUT:-3600}))
until [ "$(field rdb_bgsave_in_progress)$(field rdb_bgsave_scheduled)" = 00 ]; do
    [ $SECONDS -lt $end ] || fail "a snapshot that was under way didn't end"
    sleep 0.2
done
saves=$(field rdb_saves)
ask PERSIST.BGSAVE SCHEDULE >/dev/null
until [ "$(field rdb_saves)" -gt "$saves" ]; do
    [ $SECONDS -lt $end ] || fail "the snapshot wasn't done in time"
    if [ "$(field rdb_bgsave_in_progress)$(field rdb_bgsave_scheduled)" = 00 ] && [ "$(field rdb_saves)" -le "$saves" ]; then
        fail "the snapshot failed (rdb_last_bgsave_status:$(field rdb_last_bgsave_status)); see the server's log"
    fi
    sleep 0.2
done

# A snapshot is put in place whole, and never changed: whichever one is opened here stays one.
part=$folder.part.$$
trap 'rm -rf "$part"' EXIT
(umask 077 && mkdir "$part")
cp -- "$dir/$file" "$part/persist.rdb"
tool=${REDIS_PERSIST:-$(command -v redis-persist || true)}
if [ -n "$tool" ]; then
    "$tool" check --no-load "$part" >&2 || fail "the copy isn't sound"
else
    echo "backup.sh: redis-persist isn't in the path, so the copy wasn't checked" >&2
fi
sync "$part/persist.rdb" "$part"
mv -T -- "$part" "$folder"
sync "$(dirname "$folder")"
trap - EXIT
echo "$folder: $(stat -c %s "$folder/persist.rdb") bytes"
