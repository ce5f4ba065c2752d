"""What the drivers in Python share: how the tests call them, and waiting.

    driver.py FEATURE BOOTSTRAP ARGUMENTS

prints one line of JSON: {"ok": RESULT}, or {"absent": REASON} where the driver says that its client has no such thing. A
failure is an exception, and so an exit code that is not 0.
"""

import json
import sys
import time

WITHIN_S = 40


def main(features, absent):
    feature, bootstrap, arguments = sys.argv[1:4]
    if feature in absent:
        result = {"absent": absent[feature]}
    else:
        result = {"ok": features[feature](bootstrap, json.loads(arguments))}
    print(json.dumps(result), flush=True)


def until(what, holds, step=lambda: time.sleep(0.02)):
    """Takes a step again and again until the condition holds."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {WITHIN_S} s")
        step()


def for_a_while(seconds, step=lambda: time.sleep(0.02)):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        step()


def text(value):
    return None if value is None else value.decode()


def encoded(value):
    return None if value is None else value.encode()
