"""Run by the Python of the official client: calls it as it is told on stdin, a line of JSON each, and answers so."""

import enum
import json
import os
import sys

from idds.client.client import Client
from idds.client.clientmanager import ClientManager
from idds.common import constants


def read(value):
    if isinstance(value, str) and value.count(".") == 1:
        kind, name = value.split(".")
        if hasattr(constants, kind):
            return getattr(getattr(constants, kind), name)
    if isinstance(value, dict):
        return {name: read(each) for name, each in value.items()}
    return [read(each) for each in value] if isinstance(value, list) else value


def write(value):
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, dict):
        return {name: write(each) for name, each in value.items()}
    return [write(each) for each in value] if isinstance(value, (list, tuple)) else value


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what it prints and logs is no answer
    auth = {"auth_type": "oidc", "oidc_token": os.environ["IDDS_OIDC_TOKEN"], "vo": os.environ["IDDS_VO"]}
    speakers = {
        "client": Client(host=os.environ["IDDS_HOST"], auth=auth, timeout=60),
        "manager": ClientManager(host=os.environ["IDDS_HOST"]),
    }
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            called = getattr(speakers[asked["on"]], asked["method"])
            answer = {"answered": write(called(*read(asked["arguments"]), **read(asked["named"])))}
        except Exception as error:  # noqa: BLE001 -- told to the test
            answer = {"raised": [type(error).__name__, str(error)]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
