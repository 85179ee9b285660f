"""The command `study create`: a study from a file."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.documents import document_of
from idds.cli.output import plain, write, write_json
from idds.cli.session import AsJson, converse
from idds.cli.study_watch import watch_until_end
from idds.cli.tokens import new_file
from idds.domain.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from idds.domain.study import StudySummary
    from idds.sdk.client import Client

WORK = "evaluate"
PLACE = "/works/0/input/samples"
"""Where a study stands in a workflow that was made around it."""


def create(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A study (space, count, ...) or a workflow with one: JSON, or TOML named .toml.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="POINTER=VALUE", help="As in /count=500.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the request; else that of the file.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="So many samples are evaluated at once, at most.")] = 100,
    attempts: Annotated[int, typer.Option(min=1, max=100, help="How often a sample is tried that fails.")] = 3,
    share: Annotated[str, typer.Option(help="Fair share that it counts for.")] = "",
    key: Annotated[str | None, typer.Option(help="Idempotency key: created again, it is the same study.")] = None,
    token: Annotated[
        Path | None, typer.Option("--payload-token", metavar="FILE", help="New file for a token of its payloads.")
    ] = None,
    lifetime: Annotated[float, typer.Option(min=1, help="Seconds that such a token is good for.")] = 86400,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a study. `--parallel`, `--attempts` and `--name` are for files that hold the study alone."""
    document = document_of(file, settings)
    workflow = as_workflow(document, name or file.stem, parallel, attempts)

    async def talk(client: "Client") -> "tuple[list[StudySummary], str | None]":
        studies = await submit(client, workflow, is_alone=workflow is not document, share=share, key=key)
        return studies, None if token is None else await client.payload_token(studies[0].id, lifetime)

    with new_file(token, "--payload-token") as give:
        studies, secret = converse(context, talk)
        if secret is not None:
            give(secret)
    for study in studies:
        if as_json:
            write_json(study)
        else:
            write(f"study {study.id} of request {study.request}: {plain(study.name)}/{plain(study.work)}")
    if watch:
        raise typer.Exit(watch_until_end(context, studies[0].id, as_json=as_json))


def as_workflow(document: Mapping[str, Any], name: str, parallel: int, attempts: int) -> Mapping[str, Any]:
    """The workflow that a document is, or holds, or one around the study that it is."""
    if "works" in document:
        return document
    if "workflow" in document:
        held: Mapping[str, Any] = document["workflow"]
        return held
    source = {"samples": dict(document), "window": {"files": parallel}}
    return {"name": name, "works": [{"name": WORK, "input": source, "attempts": attempts}]}


async def submit(
    client: "Client", workflow: Mapping[str, Any], *, is_alone: bool, share: str = "", key: str | None = None
) -> "list[StudySummary]":
    """The studies of a new request, when they are there. Raises InvalidInput; with places in the study if it `is_alone`
    in its workflow.
    """
    try:
        request = await client.submit(workflow, share=share, idempotency_key=key)
    except InvalidInput as error:
        raise InvalidInput([_in_study(problem) for problem in error.problems] if is_alone else error.problems) from None
    async with aclosing(client.changes(request.id, interval_s=0.1)) as changes:
        async for _ in changes:
            now = await client.request(request.id)  # before its studies: they come along with its transforms
            if studies := [study async for study in client.studies(request.id)]:
                return sorted(studies, key=lambda study: study.id)
            if now.status.is_terminal or now.transforms:
                break
    raise InvalidInput([Problem("", f"request {request.id} has no study that begins by itself")])


def _in_study(problem: Problem) -> Problem:
    return Problem(problem.pointer.removeprefix(PLACE), problem.message)
