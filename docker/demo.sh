#!/bin/sh
# A shop: its pages are cache, its carts are durable (persist.route is cart:*). An application would do the same through
# any client.
#
#   demo.sh write    puts pages and carts
#   demo.sh show     says what is there
set -eu

program=$(command -v redis-cli || command -v valkey-cli)
cli() { "$program" -h "${SERVER:-127.0.0.1}" -p "${SERVER_PORT:-6379}" "$@"; }

case ${1:-} in
    write)
        for n in 1 2 3; do
            cli SET "page:$n" "<html>page $n</html>" >/dev/null
            cli HSET "cart:$n" apples "$n" pears 2 >/dev/null
            cli HINCRBY "cart:$n" apples 10 >/dev/null
        done
        echo "wrote 3 pages and 3 carts"
        ;;
    show)
        for n in 1 2 3; do
            page=$(cli GET "page:$n")
            cart=$(cli HGETALL "cart:$n" | tr '\n' ' ')
            printf '    page:%s  %-24s cart:%s  %s\n' "$n" "${page:-(gone)}" "$n" "${cart:-(gone)}"
        done
        ;;
    *)
        echo "demo.sh write | show" >&2
        exit 2
        ;;
esac
