#!/usr/bin/env bash
# Sends every line of standard input as one message:  printf 'a\nb\n' | examples/curl/send.sh orders
#
# Exit code 0 means that every line is on the broker's disk, once. Each line goes out under a key of its own, so whatever
# is in doubt is sent again: what was not stored for sure (503, 429, nothing listens), and just as well what may have been
# (504, a connection that broke). The broker knows the key again and gives the first answer.
set -euo pipefail
url=${WHIMBREL_URL:-http://127.0.0.1:8080}
topic=${1:?usage: send.sh TOPIC, one message a line on standard input}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

send() { # body
    local tries status key
    key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    for tries in 1 2 3 4 5; do
        status=$(printf '%s' "$1" | curl -sS -o "$answer" -w '%{http_code}' --data-binary @- \
            -H 'Content-Type: text/plain; charset=utf-8' -H "Idempotency-Key: $key" \
            "$url/v1/topics/$topic/messages") || status=000
        case $status in
            201) return 0 ;;
            000 | 429 | 503 | 504) sleep "$tries" ;;
            *) echo "send.sh: refused with $status: $(cat "$answer")" >&2; return 1 ;;
        esac
    done
    echo "send.sh: gave up, last with $status; the line may be stored or not: $1" >&2
    return 1
}

while IFS= read -r line || [ -n "$line" ]; do
    send "$line"
done
