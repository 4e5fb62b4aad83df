#!/usr/bin/env bash
# Runs a command for every message of a topic, the body on its standard input:
#   examples/curl/work.sh billing orders sh -c 'cat >> done.txt'
#
# Exit code 0 of the command acknowledges the message. Any other one gives it back with the reason, and it comes again
# after the group's retry delay, or becomes a dead letter when its attempts are used up. If this script is killed, the
# lease runs out and the message comes again: so the command must bear to see a message twice.
#
# With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s).
set -euo pipefail
url=${WHIMBREL_URL:-http://127.0.0.1:8080}
group=${1:?usage: work.sh GROUP TOPIC COMMAND…}
topic=${2:?usage: work.sh GROUP TOPIC COMMAND…}
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

while true; do
    # One message as its raw body; what belongs to it is in Mq- headers. 204: nothing came in time.
    status=$(curl -sS -X POST -o "$folder/body" -D "$folder/head" -w '%{http_code}' \
        -H 'Accept: application/octet-stream' -H "Mq-Client: work-$$" \
        "$url/v1/groups/$group/receive?topic=$topic&max_messages=1&wait=${WAIT:-20s}") || status=000
    case $status in
        200) ;;
        204) [ "${STOP_WHEN_EMPTY:-}" = 1 ] && exit 0 || continue ;;
        000 | 429 | 503 | 504) sleep 1; continue ;;
        *) echo "work.sh: refused with $status: $(cat "$folder/body")" >&2; exit 1 ;;
    esac
    receipt=$(tr -d '\r' < "$folder/head" | sed -n 's/^[Mm]q-[Rr]eceipt: //p')
    if "$@" < "$folder/body"; then
        # 204 done or already done, 410 the lease ran out meanwhile: the message comes again. The ack may be repeated.
        curl -sS --retry 5 --retry-connrefused -o /dev/null -X DELETE "$url/v1/receipts/$receipt"
    else
        curl -sS --retry 5 --retry-connrefused -o /dev/null \
            -d "{\"receipts\": [\"$receipt\"], \"reason\": \"exit code $?\"}" "$url/v1/groups/$group/nack"
    fi
done
