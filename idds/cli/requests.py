"""Commands about requests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.documents import document_of
from idds.cli.orders import state
from idds.cli.output import ago, cut, duration, instant, plain, write, write_json, write_table
from idds.cli.session import AsJson, RequestNumber, converse
from idds.cli.watch import watch_until_end
from idds.domain.statuses import Intent, Status

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import Answer, RequestView, SentenceView


def submit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A workflow document: JSON, or TOML when its name ends in .toml.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="POINTER=VALUE", help="As in /works/0/attempts=5.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: submitted again, it is the same request.")] = None,
    share: Annotated[str, typer.Option(help="Fair share that it counts for.")] = "",
    priority: Annotated[int, typer.Option(help="Higher goes first.")] = 0,
    lifetime_s: Annotated[
        float | None, typer.Option("--lifetime", min=1, help="Seconds after which it expires; else never.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="For whom; of a workload manager or operator.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a workflow."""
    document = document_of(file, settings)

    async def talk(client: "Client") -> "RequestView":
        return await client.submit(
            document, idempotency_key=key, share=share, priority=priority, lifetime_s=lifetime_s, owner=owner
        )

    request = converse(context, talk)
    if as_json:
        write_json(request)
    else:
        write(f"request {request.id}: {plain(request.name)} is {request.status}")
    if watch:
        raise typer.Exit(watch_until_end(context, request.id, as_json=as_json))


def list_requests(
    context: typer.Context,
    status: Annotated[list[Status] | None, typer.Option(help="Only these; may be given several times.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    share: Annotated[str | None, typer.Option(help="Only of this share.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those whose name begins like this.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List requests, newest first."""

    async def talk(client: "Client") -> "list[RequestView]":
        return [request async for request in client.requests(status, limit + 1, owner=owner, share=share, name=name)]

    requests = cut(converse(context, talk), limit)
    if as_json:
        for request in requests:
            write_json(request)
        return
    rows = [
        (request.id, request.name, state(request), request.owner, ago(request.created_at), request.reason)
        for request in requests
    ]
    write_table(("id", "name", "status", "owner", "created", "reason"), rows)


def show(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Show a request, its transforms and its collections."""
    found = converse(context, lambda client: client.request(request))
    if as_json:
        write_json(found)
        return
    write(f"request {found.id}: {plain(found.name)} is {state(found)}")
    if found.reason:
        write(f"because: {plain(found.reason)}")
    write(f"of {plain(found.owner)} in {plain(found.vo)}, created {instant(found.created_at)}")
    write()
    works = {transform.id: transform.work for transform in found.transforms}
    write_table(
        ("transform", "work", "iteration", "status", "open processings", "reason"),
        [(t.id, t.work, t.iteration, t.status, t.open_processings, t.reason) for t in found.transforms],
    )
    write()
    write_table(
        ("collection", "of", "relation", "DID", "RSE", "contents", "of which"),
        [
            (
                collection.id,
                works.get(collection.transform),
                collection.relation,
                collection.did,
                collection.rse,
                f"{collection.total}{'' if collection.is_closed else '+'}",
                ", ".join(f"{n} {status}" for status, n in collection.counts.items() if n),
            )
            for collection in found.collections
        ],
    )


def why(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Say what a request waits for, or why it ended as it did."""
    answer = converse(context, lambda client: client.why(request))
    if as_json:
        write_json(answer)
    else:
        _tell(answer)


def _tell(answer: "Answer") -> None:
    ordered = "" if answer.intent is Intent.RUN else f", ordered to {answer.intent}"
    write(f"request {answer.request} is {answer.status}{ordered}")
    for sentence in answer.sentences:
        write(f"  {_sentence(sentence, answer.at)}")
    for transform in answer.transforms:
        write(f"work {plain(transform.work)} is {transform.status}")
        for sentence in transform.sentences:
            write(f"  {_sentence(sentence, answer.at)}")


def _sentence(sentence: "SentenceView", at: int) -> str:
    since = "" if sentence.since is None else f", for {duration(at - sentence.since)}"
    following = "" if not sentence.next else f"; next: {sentence.next}"
    return plain(f"{sentence.text}{since}{following}")
