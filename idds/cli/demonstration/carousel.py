"""The main job: its workflow, and the service it runs on."""

import sys
import uuid
from pathlib import Path
from typing import Any

from idds.cli.demonstration import payloads
from idds.cli.demonstration.digits import DigitFile, Digits
from idds.cli.demonstration.plan import Folder, Plan
from idds.cli.demonstration.tuning import make_tuning
from idds.ddm.posix import PosixDDM
from idds.domain.identifiers import Did
from idds.domain.workflow import Input, Output, Payload, WindowLimits, Work, Workflow
from idds.runtime.settings import Settings, read_settings
from idds.sdk.documents import to_document

SCOPE = "demo"
DATASET = Did(SCOPE, "digits")
DRIVES = 2
TENTH = 10
"""The disk is so many times too small."""
BATCH = 4
FILES_A_CARTRIDGE = 8


def make_plan(digits: Digits, recall_s: float, samples: int) -> Plan:
    """Both windows, the disk's and the request's, hold a tenth of the dataset. Two studies have `samples` each."""
    window = digits.bytes // TENTH
    # A batch must fit the window: with few files, each is a large part of it.
    batch = max(1, min(BATCH, len(digits.files) // (3 * TENTH)))
    return Plan(
        key=uuid.uuid4().hex,
        files=len(digits.files),
        bytes=digits.bytes,
        window_bytes=window,
        recall_s=recall_s,
        workflow=to_document(_workflow(window, batch)),
        samples=samples,
        tuning=to_document(make_tuning(samples)) if samples else None,
    )


def _workflow(window_bytes: int, batch: int) -> Workflow:
    return Workflow(
        name="digits",
        works=(
            Work(
                name="count",
                input=Input(dataset=str(DATASET), rse="DISK", window=WindowLimits(bytes=window_bytes), batch=batch),
                payload=_payload("count.py"),
                output=Output(dataset=f"{SCOPE}:digits-counts", rse="OUTPUTS"),
            ),
            Work(
                name="merge",
                input=Input(outputs="count", batch="all"),
                payload=_payload("merge.py"),
                output=Output(dataset=f"{SCOPE}:digits-merged", rse="OUTPUTS"),
            ),
        ),
    )


def _payload(script: str) -> Payload:
    return Payload(argv=(sys.executable, str(Path(payloads.__file__).with_name(script))))


def make_settings(folder: Folder, plan: Plan, port: int) -> Settings:
    """`recall_s` is how long both drives together read the whole dataset; mounts and seeks come on top."""
    tape = {
        "kind": "tape",
        "drives": DRIVES,
        "mount_s": plan.recall_s / 60,
        "seek_s": plan.recall_s / 60,
        "bytes_per_s": plan.bytes / plan.recall_s / DRIVES,
    }
    rses: dict[str, Any] = {"DISK": {"kind": "disk"}, "OUTPUTS": {"kind": "disk"}, "TAPE": tape}
    return read_settings(
        None,
        state=folder.state,
        api={"port": port},
        ddm={"plugin": "posix", "options": {"root": str(folder.disk.parent), "rses": rses}},
        rses={"DISK": {"window_bytes": plan.window_bytes}},
        placement={"outputs": "OUTPUTS"},
    )


async def write_tape(ddm: PosixDDM, files: tuple[DigitFile, ...]) -> None:
    """Put the dataset on tape, a few files a cartridge; done again after a kill, it ends the same."""
    await ddm.create_dataset(DATASET, is_open=True)
    for number, file in enumerate(files):
        cartridge = f"CARTRIDGE{number // FILES_A_CARTRIDGE:03d}"
        await ddm.write_tape("TAPE", DATASET, Did(SCOPE, file.name), file.content, cartridge)
    await ddm.close_dataset(DATASET)
