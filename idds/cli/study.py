"""Commands about studies: searches whose samples payloads evaluate."""

from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli import study_creating, study_exporting, study_importing, study_redefining, study_watch, tokens
from idds.cli.output import ago, cut, write, write_json, write_table
from idds.cli.session import AsJson, StudyNumber, converse
from idds.cli.study_words import TITLES, amounts, facts, point, rows, values
from idds.domain.statuses import ContentStatus

if TYPE_CHECKING:
    from idds.domain.study import Sample, StudySummary
    from idds.sdk.client import Client

app = typer.Typer(help="Create, follow and redefine studies: searches of a space by samples.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, help="So many at most.")]


@app.command("list")
def list_studies(
    context: typer.Context,
    request: Annotated[int | None, typer.Option(min=1, help="Only those of this request.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List studies, newest first."""

    async def talk(client: "Client") -> "list[StudySummary]":
        return [study async for study in client.studies(request, limit + 1)]

    found = cut(converse(context, talk), limit)
    if as_json:
        for study in found:
            write_json(study)
        return
    titles = ("study", "request", "name", "work", "status", "sampler", "created", "samples")
    write_table(
        titles,
        [(s.id, s.request, s.name, s.work, s.status, s.sampler, ago(s.created_at), amounts(s)) for s in found],
    )


@app.command("show")
def show(context: typer.Context, study: StudyNumber, as_json: AsJson = False) -> None:
    """Show a study: how far it is, and the best that it found."""
    found = converse(context, lambda client: client.study(study))
    if as_json:
        write_json(found)
        return
    for line in facts(found):
        write(line)
    if found.best:
        write()
        title = "the best" if len(found.directions) == 1 else f"the front, {found.n_best:,} samples"
        write(f"{title}:")
        _write_samples(found.best[:10])


@app.command("best")
def best(
    context: typer.Context,
    study: StudyNumber,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="So many of them.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Show the samples with the best values; of several objectives, the front."""
    found = converse(context, lambda client: client.best(study, count))
    if as_json:
        for sample in found:
            write_json(sample)
    elif not found:
        write(f"study {study} has no result so far")
    elif count == 1 and len(found) == 1:
        write(f"{values(found[0].objective_values)} by sample {found[0].number}")
        write_table(("parameter", "value"), sorted(found[0].parameters.items()))
    else:
        _write_samples(found)


def _write_samples(found: "tuple[Sample, ...]") -> None:
    write_table(
        ("sample", "values", "parameters"),
        [(each.number, values(each.objective_values), point(each.parameters)) for each in found],
    )


@app.command("samples")
def samples(
    context: typer.Context,
    study: StudyNumber,
    status: Annotated[ContentStatus | None, typer.Option(help="Only these.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only those of this version of the study.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most; else all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the samples of a study."""

    async def talk(client: "Client") -> "list[Sample]":
        found: list[Sample] = []
        given = 0
        async for sample in client.samples(study, status, version=version):
            if as_json:
                write_json(sample)
            else:
                found.append(sample)
            given += 1
            if given == limit:
                break
        return found

    found = converse(context, talk)
    if not as_json:
        write_table(TITLES, rows(found))


@app.command("sample")
def sample(
    context: typer.Context,
    study: StudyNumber,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="The number of a sample.")],
    as_json: AsJson = False,
) -> None:
    """Show a sample, and what was said of it on its way."""
    found = converse(context, lambda client: client.sample(study, number))
    if as_json:
        write_json(found)
        return
    write_table(TITLES, rows([found.sample]))
    write()
    write_table(("parameter", "value"), sorted(found.sample.parameters.items()))
    if found.intermediates:
        write()
        write_table(("step", "value"), [(each.step, each.value) for each in found.intermediates])


app.command("create")(study_creating.create)
app.command("watch")(study_watch.watch)
app.command("redefine")(study_redefining.redefine)
app.command("versions")(study_redefining.versions)
app.command("export")(study_exporting.export)
app.command("import")(study_importing.import_study)
app.command("token")(tokens.payload)
