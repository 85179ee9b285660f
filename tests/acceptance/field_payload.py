"""What payloads in the field do today: they know a host, a task and the range of events that their job was given.

No header of this service's, no token, nothing but the standard library.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

NOBODY_THERE = 75


def call(method: str, *parts: str) -> Any:
    url = "/".join([os.environ["IDDS_HOST"], "hpo", os.environ["TASK"], "null", *parts])
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        return json.load(answer)


def main(event_range: str, command: list[str]) -> int:
    sample = event_range.split("-")[3]
    (found,) = [each for each in call("GET", sample, "null", "null") if each["id"] == sample]
    if found["loss"] is not None:
        return 0
    with open("input.json", "w") as file:
        json.dump(found["parameters"], file)
    if subprocess.run(command).returncode != 0:
        return 1
    with open("output.json") as file:
        output = json.load(file)
    if output["status"] != 0:
        return 1
    return int(call("PUT", sample, str(output["loss"]))["status"])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    except urllib.error.HTTPError:
        raise
    except OSError:
        sys.exit(NOBODY_THERE)
