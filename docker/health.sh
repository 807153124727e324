#!/bin/sh
# Healthy is a server that answers. The durable keys are loaded before it answers anybody; while the host loads a file of
# its own, it says LOADING. PORT if it isn't 6379. A server that wants a password has answered.
cli=$(command -v redis-cli || command -v valkey-cli) || exit 1
said=$("$cli" -p "${PORT:-6379}" PING 2>&1)
case $said in
    PONG | NOAUTH* | *NOPERM*) exit 0 ;;
esac
echo "$said"
exit 1
