"""The user's command: reads a point, writes its loss, and breaks down where the bad half begins."""

import json
import sys

with open("input.json") as file:
    model, point = json.load(file)
if point["kind"] == "bad":
    sys.exit("it breaks down")
loss = (point["x"] - 0.3) ** 2 + (model == "two")
with open("output.json", "w") as file:
    json.dump({"status": 0, "loss": loss}, file)
