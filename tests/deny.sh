#!/usr/bin/env bash
# Licences, origins and known flaws of everything that this project is made of; see tests/deny. The advisories are
# RustSec's: those in ADVISORY_DB, or fetched into .cache/advisory-db. Where they can't be fetched, that is said, and the
# rest is checked.
set -euo pipefail
cd "$(dirname "$0")/.."

db=${ADVISORY_DB:-}
if [ -z "$db" ]; then
    db=.cache/advisory-db
    if [ -d "$db/.git" ]; then
        git -C "$db" pull --quiet --depth 1 2>/dev/null || echo "deny: the advisories in $db can't be renewed, and may be old" >&2
    else
        rm -rf "$db"
        mkdir -p .cache
        git clone --quiet --depth 1 https://github.com/RustSec/advisory-db "$db" 2>/dev/null || db=
    fi
fi
${CARGO:-cargo} test --test deny
if [ -n "$db" ]; then
    ADVISORY_DB=$(cd "$db" && pwd) ${CARGO:-cargo} test --test advisories
    echo "deny: licences, origins and advisories are in order"
else
    echo "deny: licences and origins are in order; ADVISORIES WERE NOT CHECKED: they can't be fetched from here" >&2
fi
