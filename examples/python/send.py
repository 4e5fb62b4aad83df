#!/usr/bin/env python3
"""Sends every line of standard input as one message:  printf 'a\\nb\\n' | examples/python/send.py orders

Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
sent again for a while. A 504, or a connection that broke, means "not known": the line is not sent again, because that
could store it twice. Python 3.8 or newer, nothing to install.
"""
import http.client
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("WHIMBREL_URL", "http://127.0.0.1:8080")


def send(topic, body):
    """Returns once the broker has the message; ends the program when it has not, or when nobody knows."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    request = urllib.request.Request(f"{URL}/v1/topics/{topic}/messages", data=body, headers=headers)
    for pause in (0.25, 0.5, 1, 2, 4, 8, 0):
        try:
            with urllib.request.urlopen(request, timeout=60):
                return
        except urllib.error.HTTPError as error:
            if error.code == 504:
                sys.exit(f"send.py: not known whether this was stored: {body!r}")
            if error.code not in (429, 503):
                sys.exit(f"send.py: refused with {error.code}: {error.read().decode()}")
        except (OSError, http.client.HTTPException) as error:
            if not isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                sys.exit(f"send.py: not known whether this was stored ({error}): {body!r}")
        time.sleep(pause)
    sys.exit(f"send.py: not stored: {body!r}")


if len(sys.argv) != 2:
    sys.exit("usage: send.py TOPIC, one message a line on standard input")
for line in sys.stdin.buffer:
    send(sys.argv[1], line.rstrip(b"\n"))
