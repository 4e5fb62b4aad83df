#!/usr/bin/env bash
# Generated requests against a running broker, judged by openapi.yaml (schemathesis, https://schemathesis.io).
#
#   tests/contract/run.sh                  # every operation but the WebSocket, about 20,000 requests
#   EXAMPLES=50 SEED=7 tests/contract/run.sh --include-path-regex /v1/groups
#
# Starts a broker of its own on a free port and an empty directory, and stops it. Arguments go to `schemathesis run`.
# Needs Python 3 with venv; the first run installs schemathesis below target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

VERSION=4.32.5
EXAMPLES=${EXAMPLES:-400}
SEED=${SEED:-1}
WHIMBREL=${WHIMBREL:-target/debug/whimbrel}
tools=target/contract
[ -x "$WHIMBREL" ] || { echo "no broker at $WHIMBREL: cargo build, or WHIMBREL=path" >&2; exit 2; }
if ! "$tools/bin/schemathesis" --version 2>/dev/null | grep -qF "$VERSION"; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet "schemathesis==$VERSION"
fi

work=$(mktemp -d)
# Long polls end soon, so that generated waits do not add up.
env -i PATH="$PATH" "$WHIMBREL" serve --listen 127.0.0.1:0 --data "$work/data" --max-wait 200ms >"$work/said" 2>"$work/log" &
broker=$!
cleanup() {
    kill "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
url=
for _ in $(seq 600); do
    url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/said")
    [ -n "$url" ] && break
    kill -0 "$broker" 2>/dev/null || { cat "$work/said" "$work/log" >&2; exit 1; }
    sleep 0.1
done
[ -n "$url" ] || { echo "the broker did not start within a minute" >&2; exit 1; }

outcome=0
# From the work folder: it keeps notes where it runs.
root=$PWD
config=$root/tests/contract/schemathesis.toml
(cd "$work" && "$root/$tools/bin/schemathesis" --config-file "$config" run "$root/openapi.yaml" --url "$url" \
    --exclude-path /v1/ws --max-examples "$EXAMPLES" --seed "$SEED" --continue-on-failure --no-color "$@") || outcome=$?
kill -0 "$broker" 2>/dev/null || { echo "the broker ended during the run:" >&2; tail -20 "$work/log" >&2; outcome=1; }
if grep -q panicked "$work/log"; then
    echo "the broker panicked:" >&2
    grep -A3 panicked "$work/log" >&2
    outcome=1
fi
exit "$outcome"
