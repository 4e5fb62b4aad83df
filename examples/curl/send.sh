#!/usr/bin/env bash
# Sends every line of standard input as one message:  printf 'a\nb\n' | examples/curl/send.sh orders
#
# Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
# sent again for a while. A 504 means "not known": the line is not sent again, because that could store it twice.
set -euo pipefail
url=${WHIMBREL_URL:-http://127.0.0.1:8080}
topic=${1:?usage: send.sh TOPIC, one message a line on standard input}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

send() { # body
    local tries status
    for tries in 1 2 3 4 5; do
        # curl's exit code 7 is "nothing listens", so nothing was stored; every other failure may have reached the broker.
        status=$(printf '%s' "$1" | curl -sS -o "$answer" -w '%{http_code}' --data-binary @- \
            -H 'Content-Type: text/plain; charset=utf-8' "$url/v1/topics/$topic/messages") ||
            { [ $? -eq 7 ] && status=503 || status=504; }
        case $status in
            201) return 0 ;;
            429 | 503) sleep "$tries" ;;
            504) echo "send.sh: not known whether this was stored: $1" >&2; return 1 ;;
            *) echo "send.sh: refused with $status: $(cat "$answer")" >&2; return 1 ;;
        esac
    done
    echo "send.sh: not stored: $1" >&2
    return 1
}

while IFS= read -r line || [ -n "$line" ]; do
    send "$line"
done
