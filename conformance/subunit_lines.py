"""Subunit version 2 on standard input as lines of JSON on standard output: id, status, seconds, details by name.

Run by the suite's own Python, which has the reader of that format; this file imports nothing of Isthmus.
"""

import json
import sys
from typing import Any

import subunit
import testtools


def write(test: dict[str, Any]) -> None:
    """Write one finished test as a line; what else was printed in the stream goes to standard error."""
    details = {name: content.as_text() for name, content in test["details"].items()}
    if test["id"] is None:
        print(*details.values(), file=sys.stderr)
        return
    if test["status"] == "exists":  # it is only being listed
        return
    began, ended = test["timestamps"]
    line = {
        "id": test["id"],
        "status": test["status"],
        "seconds": (ended - began).total_seconds() if began and ended else 0.0,
        "details": details,
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Translate until the end of input."""
    stream = testtools.StreamToDict(write)
    stream.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(stream)
    stream.stopTestRun()


if __name__ == "__main__":
    main()
