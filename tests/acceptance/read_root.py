"""A payload: what is in each ROOT file, and how many entries its trees have. Run by the processings of a test."""

import json
from pathlib import Path

import uproot

from idds.sdk import payload


def describe(path: str | Path) -> dict[str, object]:
    """Raises Unprocessable for a file that has no object in it, as one has that its writer never closed."""
    with uproot.open(path) as file:
        objects = file.classnames(recursive=True)
        if not objects:
            raise payload.Unprocessable("no object in this ROOT file: its writer never closed it")
        trees = [key for key, kind in objects.items() if kind in {"TTree", "TNtuple", "ROOT::RNTuple"}]
        return {"objects": objects, "entries": {key: int(file[key].num_entries) for key in trees}}


def main() -> None:
    with payload.job() as job:
        for content in job:
            with job.processing(content):
                assert content.path is not None
                result = {"file": content.name, **describe(content.path)}
                job.output(f"{content.name}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
