"""`idds study` as a user types it, against a service of its own; what is exported is read by Optuna itself."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from idds.cli.exits import Exit
from idds.cli.main import app
from idds.domain.content import Outcome
from idds.sdk.client import Client
from idds.sdk.views import LeasedContent
from tests.acceptance.service import Running, service

SPACE = {
    "x": {"type": "float", "low": -5, "high": 5},
    "n": {"type": "int", "low": 1, "high": 9},
    "kind": {"type": "categorical", "choices": ["bowl", "plane"]},
}
COUNT = 24
WORST = 50.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with service(tmp_path / "idds-state") as running:
        yield running


class Typed:
    """Commands, typed in a folder."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.folder = folder
        self._environment = {"IDDS_URL": running.url, "IDDS_TOKEN": running.token, "COLUMNS": "300"}

    async def __call__(self, command: str, *more: str, code: int = Exit.DONE) -> str:
        """What it says, on both channels."""
        arguments = ["study", *command.split(), *more]
        found = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=self._environment)
        assert found.exit_code == code, (arguments, found.output, found.exception)
        return found.output

    async def documents(self, command: str, *more: str) -> list[Any]:
        return [json.loads(line) for line in (await self(command, *more, "--json")).splitlines()]

    def file(self, name: str, document: Any) -> str:
        (self.folder / name).write_text(json.dumps(document))
        return str(self.folder / name)


@pytest.fixture
def typed(running: Running, tmp_path: Path) -> Typed:
    return Typed(running, tmp_path)


def loss(point: Mapping[str, Any]) -> float:
    return float((point["x"] - 2) ** 2 + point["n"] / 10 + (point.get("kind") == "plane"))


async def evaluate(client: Client, study: int, *, failing: int = 0) -> None:
    """To the end. Each `failing`th fails."""
    ended, evaluated = False, 0
    while not ended:
        lease = await client.lease(study, count=4, wait_s=5)
        ended, outcomes = lease.ended, []
        for content in lease.contents:
            assert content.parameters is not None
            evaluated += 1
            is_bad = failing and evaluated % failing == 0
            done = content.done(loss(content.parameters))
            outcomes.append(content.failed("bad luck", retry=False) if is_bad else done)
        await client.report(study, outcomes)


async def test_a_study_is_created_followed_and_exported(running: Running, typed: Typed) -> None:
    file = typed.file("search.json", {"space": SPACE, "count": 9, "sampler": "tpe", "seed": 3})
    secret = typed.folder / "secret"
    made = await typed.documents("create", file, "--set", f"/count={COUNT}", "--payload-token", str(secret))
    study = made[0]["id"]
    assert (made[0]["name"], made[0]["work"], made[0]["wanted"]) == ("search", "evaluate", COUNT)
    assert await typed(f"best {study}") == f"study {study} has no result so far\n"
    watching = asyncio.create_task(typed(f"watch {study}", code=Exit.NOT_FINISHED))
    async with Client(running.url, secret.read_text().strip()) as payload:
        await evaluate(payload, study, failing=6)
    watched = await watching
    last = [line for line in watched.splitlines() if " study is " in line][-1]
    assert "is subfinished" in last
    assert last.endswith("20 of 24 samples done, 4 failed")
    assert " best " in watched

    listed = await typed("list")
    assert "search" in listed
    assert "20 of 24 samples done, 4 failed" in listed
    (best,) = await typed.documents(f"best {study}")
    assert f"{best['objective_values'][0]:.6g} by sample {best['number']}" in await typed(f"best {study}")
    samples = await typed.documents(f"samples {study}")
    assert [each["number"] for each in samples] == list(range(COUNT))
    assert best["objective_values"][0] == min(loss(s["parameters"]) for s in samples if s["status"] == "done")
    assert len(await typed.documents(f"samples {study} --status failed --limit 3")) == 3
    shown = await typed(f"show {study}")
    assert f"study {study}: search/evaluate is subfinished" in shown
    assert "sampler tpe; minimize; version 1" in shown
    assert "bad luck" in await typed(f"sample {study} 5")

    table = typed.folder / "samples.csv"
    await typed(f"export {study} --csv", str(table))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["value"]) for row in rows if row["value"]] == [
        s["objective_values"][0] for s in samples if s["status"] == "done"
    ]
    assert {row["status"] for row in rows} == {"done", "failed"}
    assert await typed(f"export {study} --csv -") == table.read_text()

    for place in ("study.db", "study.journal"):
        storage = str(typed.folder / place)
        assert "24 trials" in await typed(f"export {study} --optuna", storage, "--name", "mine")
        again = await typed(f"export {study} --optuna", storage, "--name", "mine", code=Exit.CONFLICT)
        assert "already" in again
        _check_optuna(storage, samples)
    await _import_again(running, typed, table, best)


def _check_optuna(place: str, samples: list[dict[str, Any]]) -> None:
    journal = optuna.storages.journal.JournalFileBackend(place) if place.endswith(".journal") else None
    storage = optuna.storages.JournalStorage(journal) if journal else f"sqlite:///{place}"
    study = optuna.load_study(study_name="mine", storage=storage)
    assert [trial.params for trial in study.trials] == [each["parameters"] for each in samples]
    states = {"done": optuna.trial.TrialState.COMPLETE, "failed": optuna.trial.TrialState.FAIL}
    assert [trial.state for trial in study.trials] == [states[each["status"]] for each in samples]
    assert study.best_value == min(loss(s["parameters"]) for s in samples if s["status"] == "done")
    study.enqueue_trial({"x": 0.0})
    study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=1)  # Optuna goes on with it


async def _import_again(running: Running, typed: Typed, table: Path, best: dict[str, Any]) -> None:
    """From the table, and from the storage that Optuna has gone on with."""
    (made,) = await typed.documents("import", str(table), "--name", "found before")
    assert (made["name"], made["status"], made["counts"]["done"]) == ("found before", "finished", 20)
    (found,) = await typed.documents(f"best {made['id']}")
    assert found["parameters"] == best["parameters"]
    assert found["objective_values"] == best["objective_values"]
    lacking = await typed("import", str(typed.folder / "study.db"), code=Exit.REFUSED)
    assert "not all results have kind, n" in lacking
    space = typed.file("space.json", {"space": SPACE})
    (made,) = await typed.documents("import", str(typed.folder / "study.db"), "--space", space)
    assert made["counts"]["done"] == 21


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "maximize"]])
async def test_what_is_exported_and_imported_is_as_feasible_as_before(
    running: Running, typed: Typed, directions: list[str]
) -> None:
    """By a table and by Optuna's storages, also beside samples that failed or were pruned: the best are the same."""
    document = {
        "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "sampler": "random",
        "count": 12,
        "directions": directions,
        "result_constraints": 2,
    }
    (made,) = await typed.documents("create", typed.file("bound.json", document))
    async with running.client() as client:
        while not (lease := await client.lease(made["id"], count=12, wait_s=5)).ended:
            await client.report(made["id"], [_bound(each, len(directions)) for each in lease.contents])
    known, best = await _results(typed, made["id"])
    assert len(known) == 8
    assert 0 < len(best) < 8 if len(directions) > 1 else best[0][0]["x"] < 0.5

    places = [str(typed.folder / name) for name in ("bound.csv", "bound.db", "bound.journal")]
    for place in places:
        await typed(f"export {made['id']}", "--csv" if place.endswith(".csv") else "--optuna", place)
        (again,) = await typed.documents("import", place)
        assert (again["status"], again["counts"]["done"]) == ("finished", 8)
        assert await _results(typed, again["id"]) == (known, best)
        (about,) = await typed.documents(f"show {again['id']}")
        assert about["definition"]["directions"] == directions


def _bound(content: LeasedContent, objectives: int) -> Outcome:
    """Feasible up to 0.5. The first samples fail, the next are pruned where there is one objective."""
    assert content.parameters is not None
    x, number = float(content.parameters["x"]), int(content.name.rpartition("-")[2])
    if number < 2 or (number < 4 and objectives > 1):
        return content.failed("bad luck", retry=False)
    if number < 4:
        return content.pruned()
    return content.done(*[x, x * x][:objectives], constraint_values=[x - 0.5, -1.0])


async def _results(typed: Typed, study: int) -> tuple[list[Any], list[Any]]:
    """What came of all points, and of the best."""
    names = ("parameters", "objective_values", "constraint_values")
    found = [
        [[each[name] for name in names] for each in await typed.documents(f"{command} {study}")]
        for command in ("samples", "best")
    ]
    done = [each for each in found[0] if each[1] is not None]
    return sorted(done, key=lambda each: each[0]["x"]), found[1]


async def test_a_segment_is_redefined(typed: Typed) -> None:
    x = {"x": {"type": "float", "low": 0, "high": 9}}
    segments = [
        {"model_id": "a", "space": x},
        {"model_id": 2, "space": {**x, "n": {"type": "int", "low": 1, "high": 9}}},
    ]
    (made,) = await typed.documents("create", typed.file("search.json", {"segments": segments, "count": COUNT}))
    study = made["id"]
    await typed(f"redefine {study} --segment 2 --narrow x=0:4 --reason", "nothing above")
    await typed(f"redefine {study} --widen x=:10 --reason", "all of them")
    listed = await typed(f"versions {study}")
    assert "narrow x of 2" in listed
    assert "widen x of a, widen x of 2" in listed
    (about,) = await typed.documents(f"show {study}")
    assert [each["space"]["x"]["high"] for each in about["definition"]["segments"]] == [10, 10]


async def test_a_study_is_redefined(running: Running, typed: Typed) -> None:
    await _refuses(typed)
    file = typed.file("search.json", {"space": SPACE, "count": COUNT, "sampler": "random"})
    (made,) = await typed.documents("create", file, "--parallel", "5")
    study = made["id"]
    said = await typed(f"redefine {study} --narrow x=0:4 --fix kind=bowl --reason", "the bowl wins")
    assert said == f"study {study} is of version 2 now\n"
    listed = await typed(f"versions {study}")
    assert "narrow x, fix kind" in listed
    assert "the bowl wins" in listed
    outrun = await typed(f"redefine {study} --drop n --if-version 1 --reason", "late", code=Exit.CONFLICT)
    assert "version" in outrun
    assert (await typed.documents(f"show {study}"))[0]["definition"]["space"]["x"]["low"] == 0
    async with running.client() as client:
        await evaluate(client, study)
    storage = str(typed.folder / "study.db")
    await typed(f"export {study} --optuna", storage)
    loaded = optuna.load_study(study_name=f"idds-{study}", storage=f"sqlite:///{storage}")
    assert len(loaded.trials) >= COUNT


REFUSED = {
    "create {file}": "/space/x/low: ",
    "create {file} --set /space/x/high=5 --set /count=0": "/count: ",
    "create nothing.json": "nothing.json cannot be read",
    "redefine 1 --reason why": "say what is to change",
    "redefine 1 --reason why --narrow x": "write NAME=",
    "redefine 1 --reason why --narrow x=a:b": "no range of numbers",
    "export 1": "say where to",
    "import nothing.csv": "nothing.csv cannot be read",
    "import {file}.csv": "has no columns value",
}


async def _refuses(typed: Typed) -> None:
    """What is no good, with its place."""
    file = typed.file("bad.json", {"space": {"x": {"type": "float", "low": 1, "high": -1}}, "count": 3})
    (typed.folder / "bad.json.csv").write_text("a,b\n1,2\n")
    for command, said in REFUSED.items():
        assert said in await typed(command.format(file=file), code=Exit.REFUSED), command
    assert await typed("list --json") == ""
