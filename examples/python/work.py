#!/usr/bin/env python3
"""Works off the messages of a topic:  examples/python/work.py billing orders

What `handle` finishes is acknowledged, after the work and never before. What it raises is given back with the reason: the
message comes again after the group's retry delay, or becomes a dead letter when its attempts are used up. If this program
is killed, the lease runs out and the message comes again, so the work must bear to see a message twice.

With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s). Python 3.8 or newer, nothing to install.
"""
import base64
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("WHIMBREL_URL", "http://127.0.0.1:8080")


def handle(body, message):
    """The work. `message` has id, topic, attempt, tag, keys, properties and more."""
    if not body:
        raise ValueError("an empty order")
    print(f"billed: {body.decode()}", flush=True)


def call(path, value):
    """POSTs JSON until there is an answer. Safe here: receiving and settling may be repeated, unlike sending."""
    request = urllib.request.Request(f"{URL}/v1/groups/{path}", data=json.dumps(value).encode())
    pause = 0.25
    while True:
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 502, 503, 504):
                sys.exit(f"work.py: refused with {error.code}: {error.read().decode()}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(f"work.py: {error}; trying again", file=sys.stderr)
        time.sleep(pause)
        pause = min(pause * 2, 5)


if len(sys.argv) != 3:
    sys.exit("usage: work.py GROUP TOPIC")
group, topic = sys.argv[1:]
wait = os.environ.get("WAIT", "20s")
while True:
    # Ten messages at most: the work on all of them has to fit into one lease (a minute, unless the group says otherwise).
    messages = call(f"{group}/receive", {"topic": topic, "wait": wait, "max_messages": 10})["messages"]
    if not messages and os.environ.get("STOP_WHEN_EMPTY") == "1":
        break
    acks, nacks = [], []
    for message in messages:
        body = message["body"]
        body = base64.b64decode(body) if message["encoding"] == "base64" else body.encode()
        try:
            handle(body, message)
            acks.append({"receipt": message["receipt"]})
        except Exception as error:
            nacks.append({"receipt": message["receipt"], "reason": str(error)})
    if messages:
        for result in call(f"{group}/settle", {"acks": acks, "nacks": nacks})["results"]:
            if result["status"] not in ("ok", "already"):
                print("work.py: settled too late, the message comes again", file=sys.stderr)
