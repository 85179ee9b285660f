"""All counts together: how many images of every digit there are, the mean of each, and all images as `rows`."""

import json
from pathlib import Path

from idds.sdk import payload
from idds.sdk.payload import Job


def merge(job: Job) -> dict[str, object]:
    """`files` names what came in, as often as it came: what came twice must be seen, so it is not left out here."""
    files: list[str] = []
    images = [0] * 10
    sums = [[0] * 64 for _ in images]
    rows: dict[str, list[list[int]]] = {}
    for content in job:
        with job.processing(content):
            assert content.path is not None
            part = json.loads(Path(content.path).read_text(encoding="utf-8"))
            files.append(part["file"])
            rows[part["file"]] = part["rows"]
            images = [total + n for total, n in zip(images, part["images"], strict=True)]
            sums = [
                [total + n for total, n in zip(mine, more, strict=True)]
                for mine, more in zip(sums, part["sums"], strict=True)
            ]
    means = [[total / max(1, n) for total in pixels] for pixels, n in zip(sums, images, strict=True)]
    in_order = [row for file in sorted(rows) for row in rows[file]]
    return {"files": files, "images": images, "means": means, "rows": in_order}


def main() -> None:
    with payload.job() as job:
        job.output("digits.json").write_text(json.dumps(merge(job)), encoding="utf-8")


if __name__ == "__main__":
    main()
