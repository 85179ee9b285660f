"""A payload for pilots: reads ranges of events of ROOT files, and leaves the events of each in a file of its own.

read_events.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

import uproot

from idds.sdk import payload


def main(folder: Path) -> None:
    pilot = os.getppid()
    with payload.job() as job:
        for content in job:
            if os.getppid() != pilot:
                return  # whoever wanted it is dead
            with job.processing(content), uproot.open(content.path) as file:
                read = file["events"]["number"].array(
                    entry_start=content.min_id - 1, entry_stop=content.max_id, library="np"
                )
                (folder / f"{content.id}-{content.attempt}.json").write_text(json.dumps(read.tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
