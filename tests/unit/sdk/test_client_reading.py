"""Answers as records: tolerant of what is new, clear about what is missing."""

from dataclasses import asdict

import pytest

from idds.domain.agent import AgentProcess, DutyReport
from idds.domain.content import Intermediate, Outcome
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.domain.workflow import Input, Parameter, Samples, Work, Workflow
from idds.sdk.documents import to_document
from idds.sdk.reading import Unreadable, read
from idds.sdk.views import Answer, CollectionView, Lease, LeasedContent, RequestView

COLLECTION = {
    "id": 3,
    "request": 1,
    "transform": 2,
    "relation": "input",
    "is_closed": False,
    "counts": {"done": 2, "failed": 1},
    "total": 3,
}
REQUEST = {
    "id": 1,
    "name": "scan",
    "status": "running",
    "intent": "run",
    "transforms": [
        {
            "id": 2,
            "request_id": 1,
            "work": "w",
            "iteration": 0,
            "status": "finished",
            "open_processings": 0,
            "changed_at": 5,
        },
        {
            "id": 4,
            "request_id": 1,
            "work": "w",
            "iteration": 1,
            "status": "running",
            "open_processings": 0,
            "changed_at": 5,
        },
    ],
    "collections": [COLLECTION, COLLECTION | {"id": 5, "transform": 4}],
}


def test_what_is_new_is_passed_over() -> None:
    request = read(RequestView, REQUEST | {"colour": "blue", "collections": [COLLECTION | {"bytes": 7}]})
    assert request.status is Status.RUNNING
    assert request.collections[0].relation is Relation.INPUT
    assert request.collections[0].count(ContentStatus.DONE, ContentStatus.FAILED, ContentStatus.NEW) == 3


def test_the_latest_transform_of_a_work() -> None:
    request = read(RequestView, REQUEST)
    assert request.transform("w").id == 4
    assert request.collection("w").id == 5
    with pytest.raises(KeyError):
        request.transform("other")
    with pytest.raises(KeyError):
        request.collection("w", Relation.OUTPUT)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], "/: expected an object"),
        (COLLECTION | {"id": "3"}, "/id: expected int"),
        (COLLECTION | {"id": True}, "/id: expected int, found bool"),
        (COLLECTION | {"id": None}, "/id: expected int, found null"),
        ({key: value for key, value in COLLECTION.items() if key != "total"}, "/total: is missing"),
        (COLLECTION | {"relation": "sideways"}, "/relation: 'sideways' is no Relation"),
        (COLLECTION | {"counts": {"done": "2"}}, "/counts/done: expected int"),
        (COLLECTION | {"counts": []}, "/counts: expected an object"),
    ],
)
def test_what_is_not_understood_is_named(document: object, place: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(CollectionView, document)
    assert str(caught.value).startswith(place)


def test_the_place_within_lists() -> None:
    with pytest.raises(Unreadable, match=r"^/transforms/0/sentences/1/text: is missing"):
        read(
            Answer,
            {
                "request": 1,
                "status": "running",
                "intent": "run",
                "at": 1,
                "sentences": [],
                "transforms": [{"id": 1, "work": "w", "status": "new", "sentences": [{"text": "a"}, {}]}],
            },
        )


def test_outcomes_of_what_was_leased() -> None:
    lease = read(Lease, {"contents": [{"id": 7, "attempt": 2, "scope": "", "name": "s"}], "ended": False})
    (content,) = lease.contents
    assert isinstance(content, LeasedContent)
    assert content.done(1, 0.5) == Outcome(7, 2, done=True, objective_values=(1, 0.5))  # type: ignore[arg-type]
    assert content.done(1, constraint_values=[0]).constraint_values == (0,)
    assert content.pruned() == Outcome(7, 2, done=True, is_pruned=True)  # type: ignore[arg-type]
    assert content.at(3, 0.5) == Intermediate(7, 2, 3, 0.5)  # type: ignore[arg-type]
    assert content.failed("no", retry=False) == Outcome(7, 2, done=False, reason="no", retry=False)  # type: ignore[arg-type]


WORKFLOW = Workflow(
    name="scan",
    works=(
        Work(
            name="w",
            input=Input(
                samples=Samples(
                    count=5,
                    space={
                        "x": Parameter(type="float", low=0, high=1),
                        "kind": Parameter(type="categorical", choices=("a", 1, True)),
                    },
                ),
                batch="all",
            ),
        ),
        Work(name="v", after=("w",)),
    ),
)


def test_a_workflow_goes_there_and_comes_back() -> None:
    assert read(Workflow, to_document(WORKFLOW)) == WORKFLOW
    assert read(Workflow, asdict(WORKFLOW)) == WORKFLOW, "the service writes defaults out"


def test_defaults_are_left_out() -> None:
    assert to_document(WORKFLOW)["works"][1] == {"name": "v", "after": ["w"]}


def test_sequences_are_read_as_tuples() -> None:
    duty = {"agent": "a", "name": "d", "steps": 1, "failures": 0, "last_error": None, "stepped_at": 5}
    process = {"owner": "o", "names": ["a"], "host": "h", "pid": 1, "version": "1", "started_at": 1, "seen_at": 2}
    found = read(AgentProcess, process | {"duties": [duty]})
    assert found.names == ("a",)
    assert found.duties == (DutyReport(**duty),)
    with pytest.raises(Unreadable, match="/duties/0/steps"):
        read(AgentProcess, process | {"duties": [duty | {"steps": "many"}]})
