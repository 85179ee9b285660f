"""The payload's file by itself: what it sends, what it makes of answers, and of none."""

import ast
import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds.sdk import study as sdk
from idds.sdk.study import Away, Refused, Sample, Stop, Study

Answer = tuple[int, Any, dict[str, str]] | BaseException | Callable[[], "Answer"]
DEADLINE_S = 20
SAMPLE = {"id": 3, "attempt": 1, "name": "3", "parameters": {"x": 0.5}}


def good(document: Any) -> Answer:
    return (200, document, {})


def receipt(verdict: str) -> Answer:
    return good({"receipts": [{"id": 3, "verdict": verdict}]})


class Service:
    """In the place of HTTP: gives the answers of a verb one after the other, and the last one from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, list[Answer]] = {
            "whoami": [good({"collection": 7})],
            "lease": [good({"contents": [SAMPLE], "ended": False})],
            "heartbeat": [good({"held": [3], "stop": []})],
            "report": [receipt("accepted")],
            "return": [good({"returned": [3]})],
            "intermediate": [good({"samples": [{"id": 3, "stop": False, "reason": None}]})],
        }
        self.heartbeats = threading.Semaphore(0)
        self.returns = threading.Semaphore(0)
        monkeypatch.setattr(sdk._Service, "_once", self._once)

    def _once(self, path: str, body: Any, timeout_s: float) -> Any:
        verb = path.rpartition(":")[2].rpartition("/")[2]
        self.calls.append((verb, body))
        answers = self.answers[verb]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if verb == "heartbeat":
            self.heartbeats.release()
        if verb == "return":
            self.returns.release()
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer[1]

    def sent(self, verb: str) -> list[Any]:
        return [body for called, body in self.calls if called == verb]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(sdk.time, "sleep", lambda seconds: None)
    return Service(monkeypatch)


def study(**how: Any) -> Study:
    return Study("http://service", "secret", **how)


def test_old_pythons_of_worker_nodes_read_it() -> None:
    tree = ast.parse(Path(sdk.__file__).read_text(), feature_version=(3, 7))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(str(module).startswith("idds") for module in imported), "it stands alone"


def test_a_result_is_reported_at_once(service: Service) -> None:
    with study().sample() as sample:
        sample.report(0.5, 2, constraints=[-1])
        assert sample.verdict == "accepted"
        with pytest.raises(ValueError, match="has been reported"):
            sample.report(0.6)
    outcome = {"id": 3, "attempt": 1, "status": "done", "objective_values": [0.5, 2.0], "constraint_values": [-1.0]}
    assert service.sent("report") == [{"reports": [outcome]}]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_goes_in_words_and_is_no_success(service: Service, value: float) -> None:
    evaluated = study()
    with evaluated.sample() as sample:
        sample.report(value)
    assert service.sent("report")[0]["reports"][0]["objective_values"] == [str(value)]
    assert (evaluated.done, evaluated.failed) == (0, 1)


def test_a_sample_that_says_nothing_has_failed(service: Service) -> None:
    with study().sample():
        pass
    assert service.sent("report")[0]["reports"][0]["reason"] == "the payload ended without a result"


def test_what_is_not_wanted_any_more_stops_and_is_reported_as_pruned(service: Service) -> None:
    told = {"id": 3, "stop": True, "reason": "worse than half of the others at step 2"}
    service.answers["intermediate"].append(good({"samples": [told]}))
    reached = []
    with study().sample() as sample:
        for step in range(5):
            reached.append(step)
            sample.report(1.0, step=step)
    assert reached == [0, 1]
    assert sample.stop == told["reason"]
    assert service.sent("report") == [{"reports": [{"id": 3, "attempt": 1, "status": "done", "pruned": True}]}]


def test_who_wants_to_may_finish_what_is_stopped(service: Service) -> None:
    service.answers["intermediate"] = [good({"samples": [{"id": 3, "stop": True, "reason": "r"}]})]
    with study().sample() as sample:
        with pytest.raises(Stop, match="r"):
            sample.report(1.0, step=1)
        sample.report(0.9)
    assert service.sent("report")[0]["reports"][0]["objective_values"] == [0.9]


def test_values_on_the_way_wait_for_a_service_that_is_away(service: Service) -> None:
    service.answers["intermediate"] = [Away("away"), Away("away"), *service.answers["intermediate"]]
    with study().sample() as sample:
        for step in range(3):
            sample.report(float(step), step=step)
        sample.report(0.0)
    assert [[value["step"] for value in sent["values"]] for sent in service.sent("intermediate")] == [
        [0],
        [0, 1],
        [0, 1, 2],
    ]


def test_a_heartbeat_tells_to_stop_and_one_that_fails_is_no_end(service: Service) -> None:
    stop = {"held": [3], "stop": [{"id": 3, "reason": "its request was cancelled"}]}
    service.answers["heartbeat"] = [Away("away"), Refused(500, "broken"), good({"held": [3]}), good(stop)]
    with study(ttl=0.003).sample() as sample:
        for _ in range(5):
            assert service.heartbeats.acquire(timeout=30)
        assert sample.stop == "its request was cancelled"
        sample.report(1.0)
    assert service.sent("heartbeat")[0] == {"held": [{"id": 3, "attempt": 1}], "ttl_s": 0.003}


def test_a_report_whose_answer_was_lost_is_sent_again(service: Service) -> None:
    service.answers["report"] = [Away("the connection broke"), receipt("duplicate")]
    with study().sample() as sample:
        sample.report(1.0)
    assert sample.verdict == "duplicate"
    assert service.sent("report")[0] == service.sent("report")[1]


NEXT = {"id": 4, "attempt": 1, "name": "4", "parameters": {"x": 0.7}}
ORDER = {"count": 1, "ttl_s": 300.0}


def reported(*contents: Any, ended: bool = False, verdict: str = "accepted") -> Answer:
    return good({"receipts": [{"id": 3, "verdict": verdict}], "contents": contents, "ended": ended})


def test_the_next_sample_comes_with_the_report_of_the_last(service: Service) -> None:
    service.answers["report"] = [reported(NEXT), reported(), reported(ended=True)]
    evaluated = []
    for sample in study().samples():
        with sample:
            sample.report(sample.parameters["x"])
        evaluated.append(sample.id)
    assert evaluated == [3, 4, 3]
    assert [verb for verb, _ in service.calls] == ["whoami", "lease", "report", "report", "lease", "report"]
    leases = [sent["lease"] for sent in service.sent("report")]
    assert [{name: lease[name] for name in ORDER} for lease in leases] == [ORDER] * 3
    assert {lease["lessee"] for lease in leases} == {service.sent("lease")[0]["lessee"]}
    assert service.sent("return") == []


def test_a_failure_and_what_is_pruned_bring_the_next_one_too(service: Service) -> None:
    service.answers["report"] = [reported(NEXT), reported(SAMPLE), reported(ended=True)]
    service.answers["intermediate"] = [good({"samples": [{"id": 3, "stop": True, "reason": "r"}]})]
    for number, sample in enumerate(study().samples()):
        with sample:
            if number == 0:
                sample.report(1.0, step=1)
            elif number == 1:
                raise RuntimeError("out of memory")
            sample.report(1.0)
    assert [sent["reports"][0]["status"] for sent in service.sent("report")] == ["done", "failed", "done"]
    assert len(service.sent("lease")) == 1


def left(by: BaseException | None, evaluated: Study) -> None:
    for sample in evaluated.samples():
        with sample:
            sample.report(1.0)
        if by is not None:
            raise by
        break


@pytest.mark.parametrize("by", [None, KeyboardInterrupt(), RuntimeError("elsewhere")])
def test_a_loop_that_is_left_gives_back_what_it_had_taken(service: Service, by: BaseException | None) -> None:
    service.answers["report"] = [reported(NEXT)]
    with pytest.raises(type(by)) if by is not None else contextlib.nullcontext():
        left(by, study())
    assert service.sent("return") == [{"held": [{"id": 4, "attempt": 1}]}]


def test_what_nobody_comes_for_is_given_back(service: Service) -> None:
    service.answers["report"] = [reported(NEXT)]
    service.answers["lease"].append(good({"contents": [], "ended": True}))
    samples = study(ttl=0.03).samples()
    sample = next(samples)
    with sample:
        sample.report(1.0)
    assert service.returns.acquire(timeout=30)
    assert service.sent("return") == [{"held": [{"id": 4, "attempt": 1}]}]
    assert list(samples) == [], "it was asked for another one"
    assert len(service.sent("lease")) == 2


def test_one_that_could_not_be_finished_is_not_taken(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(sdk.time, "monotonic", lambda: now[0])
    service.answers["report"] = [reported(NEXT), reported()]
    for sample in study().samples(walltime=310, margin=60):
        with sample:
            now[0] += 100
            sample.report(1.0)
    assert ["lease" in sent for sent in service.sent("report")] == [True, False]


def test_a_report_that_is_made_again_asks_for_nothing_more(service: Service) -> None:
    """Somebody may have been given a sample with the answer that was lost."""
    service.answers["report"] = [Away("the connection broke"), receipt("duplicate")]
    samples = study().samples()
    with next(samples) as sample:
        sample.report(1.0)
    assert ["lease" in sent for sent in service.sent("report")] == [True, False]
    samples.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_who_is_told_to_end_while_it_reports_gives_back_what_came_with_the_answer(
    service: Service, number: signal.Signals, error: type[BaseException]
) -> None:
    def interrupted() -> Answer:
        os.kill(os.getpid(), number)
        return reported(NEXT)

    service.answers["report"] = [interrupted]
    with pytest.raises(error):
        left(None, study())
    assert len(service.sent("report")) == 1
    assert service.sent("return") == [{"held": [{"id": 4, "attempt": 1}]}]


def test_who_is_told_to_end_sends_the_result_again_where_no_answer_comes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "WIND_UP_S", 0.0)
    is_sent_again = threading.Event()

    def interrupted() -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        is_sent_again.wait(DEADLINE_S)
        return Refused(409, "not held")

    def again() -> Answer:
        is_sent_again.set()
        return receipt("accepted")

    service.answers["report"] = [interrupted, again]
    with pytest.raises(KeyboardInterrupt):
        left(None, study())
    assert ["lease" in sent for sent in service.sent("report")] == [True, False]


def test_sigterm_raises_within_the_loop_and_is_let_alone_after_it(service: Service) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    service.answers["report"] = [reported(NEXT)]

    def loop() -> None:
        for sample in study().samples():
            with sample:
                sample.report(1.0)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        loop()
    assert service.sent("return") == [{"held": [{"id": 4, "attempt": 1}]}]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_sample_that_somebody_else_has_brought_is_left(service: Service) -> None:
    service.answers["report"] = [Refused(409, "not held")]
    with study().sample() as sample:
        sample.report(1.0)
    assert sample.verdict == "stale"


def test_the_wrong_count_of_values_fails_the_sample_for_good(service: Service) -> None:
    service.answers["report"] = [Refused(422, "/reports/0/objective_values: this study wants 1"), receipt("accepted")]
    with study().sample() as sample:
        sample.report(1.0, 2.0)
    failed = service.sent("report")[1]["reports"][0]
    assert (failed["status"], failed["retry"]) == ("failed", False)
    assert "this study wants 1" in failed["reason"]


def test_a_token_that_has_ended_is_no_failure_of_the_sample(service: Service) -> None:
    service.answers["report"] = [Refused(401, "this token has ended")]
    with pytest.raises(Refused, match="has ended"), study().sample() as sample:
        sample.report(1.0)
    assert len(service.sent("report")) == 1


def interrupted(by: type[BaseException], sample: Sample, work: Callable[[], object]) -> None:
    with pytest.raises(by), sample:
        work()


def raising(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


def test_an_interruption_gives_back_or_brings_what_is_known(service: Service) -> None:
    interrupted(KeyboardInterrupt, study().sample(), raising(KeyboardInterrupt()))
    assert service.sent("return") == [{"held": [{"id": 3, "attempt": 1}]}]
    # The report is under way when the interruption comes: its result is not thrown away.
    service.answers["report"] = [KeyboardInterrupt(), receipt("accepted")]
    sample = study().sample()
    interrupted(KeyboardInterrupt, sample, lambda: sample.report(1.0))
    assert sample.verdict == "accepted"
    assert len(service.sent("return")) == 1


def test_an_exit_of_the_payloads_own_is_a_failure(service: Service) -> None:
    interrupted(SystemExit, study().sample(), raising(SystemExit(1)))
    assert service.sent("report")[0]["reports"][0]["reason"] == "SystemExit: 1"


def test_reasons_are_as_the_service_takes_them(service: Service) -> None:
    with study().sample():
        raise RuntimeError("\0\udcff" + "x" * 5000)
    reason = service.sent("report")[0]["reports"][0]["reason"]
    assert len(reason) == 500
    assert reason.startswith("RuntimeError: \ufffd\ufffdx")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({}, {}, "IDDS_URL is not set"),
        ({"url": "http://service"}, {}, "IDDS_TOKEN_FILE is not set"),
        ({"url": "service", "token": "secret"}, {}, "the URL of the service"),
        ({"token": "secret"}, {"IDDS_URL": "http://service", "IDDS_STUDY": ""}, "say which one"),
    ],
)
def test_what_is_missing_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch, arguments: Any, environment: Any, message: str
) -> None:
    service.answers["whoami"] = [good({"collection": None})]
    for name in ("IDDS_URL", "IDDS_TOKEN", "IDDS_TOKEN_FILE", "IDDS_STUDY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message) as caught:
        Study(**arguments)
    assert "secret" not in str(caught.value)


def test_the_environment_says_what_is_not_given(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.delenv("IDDS_TOKEN", raising=False)
    monkeypatch.setenv("IDDS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("IDDS_URL", "http://service/")
    monkeypatch.setenv("IDDS_STUDY", "9")
    found = Study()
    assert found.id == 9
    assert found._service._headers["Authorization"] == "Bearer secret"
    assert service.calls == []
