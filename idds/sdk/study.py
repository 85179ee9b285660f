"""Samples of a study for a payload, wherever it runs. One file, standard library only: copy it to where it is needed.

    study = Study("https://idds.example.org", token)
    for sample in study.samples(walltime=3600):
        with sample:
            model = Model(**sample.parameters)
            for epoch in range(20):
                sample.report(model.train(), step=epoch)
            sample.report(model.loss())

A payload needs to know a URL and a token. With the token of one study (`idds token payload`) that is all; with another
one, give the number of the study too. What is not given comes from IDDS_URL, IDDS_TOKEN or IDDS_TOKEN_FILE, IDDS_STUDY.

Within its `with` block a sample is kept by a thread. An exception there fails the sample, is printed and goes no
further; an interruption (Ctrl-C, SIGTERM) gives the sample back, and goes on. `report` with a step raises `Stop` where
the study wants no more of this sample: the block takes it for its end. Who holds no sample any more (the service was
out of reach for longer than a lease) may go on all the same: the first valid result counts, whoever brings it.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence  # noqa: UP035 -- as old Pythons have them

TTL_S = 300.0
PATIENCE_S = 600.0
TIMEOUT_S = 30.0
LONG_POLL_S = 20.0
VALUES_AT_ONCE = 1000
WIND_UP_S = 10.0
"""Who is told to end is soon killed: what is known until then is sent for so long."""
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
MAX_REASON = 500
FIRST_OF_SERVERS = 500
"""Statuses of HTTP from here on are no fault of the call."""
RUNS_TO_SUCCEED = 3
"""A node on which the first samples all fail would fail everything, and quickly."""
TERMINATED = 128 + signal.SIGTERM
UNKNOWN_AUTHORITIES = (2, 18, 19, 20, 21)
OTHER_NAMES = (62, 64)
"""As openssl-verify(1) numbers what is wrong with a certificate."""
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What the TLS library makes of an answer in plain HTTP."""


class StudyError(Exception):
    """What the service says, or that it is not there. Never has the token in it."""


class Refused(StudyError):
    """The service does not do this, now or later; `status` is that of HTTP, 0 where it speaks as none."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Away(StudyError):
    """The service was away for longer than there was patience. It may have asked for `retry_after_s` of rest."""

    def __init__(self, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Ended(StudyError):
    """No sample will ever come again."""


class Useless(StudyError):
    """The first samples all failed here: this node cannot evaluate them."""


class Stop(Exception):
    """Raised by `Sample.report`: no more is wanted of this sample, for the reason that it has."""


class Unprocessable(Exception):
    """To be raised within the `with` block: this sample cannot be evaluated, and need not be tried again."""


class _Terminated(SystemExit):
    pass


class Study:
    """What a payload does to a study. Times are in seconds.

    `ttl` is how long a sample stays with a payload that has died; the service may be away for `patience`. Raises
    ValueError where the URL, the token or the study is missing, StudyError as all calls do.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        study: int | None = None,
        *,
        ttl: float = TTL_S,
        patience: float = PATIENCE_S,
    ) -> None:
        self._service = _Service(url or _environment("IDDS_URL"), token or _token(), patience)
        self.ttl = ttl
        self.lessee = f"{socket.gethostname()}:{os.getpid()}"[:256]
        self.done = self.failed = 0
        self.id: int = study or int(os.environ.get("IDDS_STUDY") or 0) or self._own()

    def _own(self) -> int:
        found = self._service.call("/v1/whoami", None).get("collection")
        if found is None:
            raise ValueError("this token is not of one study: say which one, or set IDDS_STUDY")
        return int(found)

    def sample(self, wait: float | None = None) -> Sample:
        """A sample to be evaluated in a `with` block.

        Raises Ended, and TimeoutError where none came within `wait` seconds; None: as long as the study goes on.
        """
        end = None if wait is None else time.monotonic() + wait
        while True:
            wait_s = LONG_POLL_S if end is None else max(0.0, min(LONG_POLL_S, end - time.monotonic()))
            lease = self._call("lease", {**self.order, "wait_s": wait_s}, wait_s=wait_s)
            if lease["contents"]:
                return Sample(self, self._call, lease["contents"][0])
            if lease["ended"]:
                raise Ended(f"study {self.id} has ended")
            if wait_s == 0.0:
                raise TimeoutError(f"no sample within {wait:g} s")

    @property
    def order(self) -> dict[str, Any]:
        """How a sample is asked for."""
        return {"count": 1, "ttl_s": self.ttl, "lessee": self.lessee}

    def samples(
        self, walltime: float | None = None, margin: float = 60.0, idle: float | None = None
    ) -> Iterator[Sample]:
        """One sample after the other, each for a `with` block, until the study has ended.

        Of the `walltime` the last `margin` is for winding up; none is begun that would take longer than there is left,
        by the slowest so far. It ends, too, when none came for `idle`. Raises Useless where the first ones all fail.
        With the result of one the next is taken. It is given back when the loop is left, also by SIGTERM, or when a
        third of `ttl` goes by before the loop goes on.
        """
        turns = _Turns(self, self._call, None if walltime is None else time.monotonic() + walltime - margin)
        before = _catch_termination()
        try:
            while turns.goes_on():
                try:
                    sample = turns.begin(idle)
                except (Ended, TimeoutError):
                    return
                yield sample
                if self.failed >= RUNS_TO_SUCCEED and not self.done:
                    raise Useless(f"the first {self.failed} samples failed: this node cannot evaluate them")
        finally:
            turns.end()
            _let_terminate(before)

    def _call(
        self, verb: str, body: Mapping[str, Any], *, wait_s: float = 0.0, patience: float | None = None, **more: Any
    ) -> dict[str, Any]:
        path = f"/v1/collections/{self.id}/contents:{verb}"
        return self._service.call(path, {**body, **more}, wait_s=wait_s, patience=patience, again=body)


class _Turns:
    """Samples of a loop, one after the other: the next is leased with the report of the one that it is at."""

    def __init__(self, study: Study, call: Callable[..., dict[str, Any]], end: float | None) -> None:
        self._study = study
        self._call = call
        self._end = end
        self._slowest = 0.0
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._at: Sample | None = None
        self._next: Sample | None = None
        self._timer: threading.Timer | None = None
        self._has_ended = False

    def goes_on(self) -> bool:
        """Whether one more comes, and could be finished."""
        now = time.monotonic()
        if self._at is not None:
            self._slowest = max(self._slowest, now - self._begun)
        return not self._has_ended and (self._end is None or self._end - now > self._slowest)

    def begin(self, idle: float | None) -> Sample:
        """The next one. Raises Ended, and TimeoutError where none came in time."""
        waits = [idle, None if self._end is None else self._end - time.monotonic()]
        sample = self._take() or self._study.sample(min((each for each in waits if each is not None), default=None))
        self._at, self._begun, sample.turns = sample, time.monotonic(), self
        return sample

    def order(self, sample: Sample) -> dict[str, Any]:
        """What to ask for with the report of this sample, so that the next one comes with the answer."""
        is_wanted = sample is self._at and self._next is None and self.goes_on()
        return {"lease": self._study.order} if is_wanted else {}

    def put(self, answer: Mapping[str, Any]) -> None:
        """Keep what came with the answer, for a while."""
        self._has_ended = answer.get("ended", False)
        for leased in answer.get("contents", ()):
            with self._lock:
                self._next = Sample(self._study, self._call, leased)
                self._timer = threading.Timer(self._study.ttl / 3, self._give_back)
                self._timer.daemon = True
                self._timer.start()

    def _take(self) -> Sample | None:
        with self._lock:
            sample, self._next = self._next, None
            if self._timer is not None:
                self._timer.cancel()
            return sample

    def _give_back(self) -> None:
        sample = self._take()
        if sample is not None:
            sample.give_back()

    def end(self) -> None:
        self._at = None
        self._give_back()


class Sample:
    """A point of a study's space, held by this process while its `with` block lasts.

    `verdict` is what the service said to the result: `accepted`; `again` for a failure, after which the sample is
    tried once more; `duplicate` or `stale` where there had been one before.
    """

    def __init__(self, study: Study, call: Callable[..., dict[str, Any]], leased: Mapping[str, Any]) -> None:
        self.id: int = leased["id"]
        self.attempt: int = leased["attempt"]
        self.name: str = leased["name"]
        self.parameters: Mapping[str, Any] = leased["parameters"]
        self.verdict: str | None = None
        self.stop: str | None = None
        """Why no more is wanted of this sample; None while it is."""
        self.turns: _Turns | None = None
        self._study = study
        self._call = call
        self._unsent: list[dict[str, Any]] = []
        self._outcome: dict[str, Any] | None = None
        self._taking: _Going | None = None
        self._left = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"sample {self.id}", daemon=True)
        self._before: Any = None

    def report(self, *values: float, step: int | None = None, constraints: Sequence[float] = ()) -> None:
        """Its result, an objective value for each direction of the study; with `step` one value on the way there.

        `constraints` are the values of the study's constraints on results, each <= 0 where it is fulfilled. What is
        NaN or infinite fails the sample. A value on the way is sent when the service is back, if it is away.
        Raises Stop (with a step only) where no more is wanted of this sample.
        """
        if self.verdict is not None:
            raise ValueError("the result of this sample has been reported")
        if step is None:
            self._settle(
                "done", objective_values=[*map(_number, values)], constraint_values=[*map(_number, constraints)]
            )
            return
        (value,) = values
        self._unsent.append({**self._held, "step": step, "value": _number(value)})
        self._tell()
        if self.stop is not None:
            raise Stop(self.stop)

    def _tell(self) -> None:
        """Send values on the way, those too that could not be sent before."""
        while self._unsent:
            these = self._unsent[:VALUES_AT_ONCE]
            try:
                answer = self._call("intermediate", {"values": these}, patience=0.0)
            except Away:
                return
            del self._unsent[: len(these)]
            self._heed(each for each in answer["samples"] if each["stop"])

    def _heed(self, stopped: Iterable[Mapping[str, Any]]) -> None:
        for each in stopped:
            if each["id"] == self.id:
                self.stop = each["reason"]

    @property
    def _held(self) -> dict[str, int]:
        return {"id": self.id, "attempt": self.attempt}

    def _keep(self) -> None:
        while not self._left.wait(self._study.ttl / 3):
            try:
                body = {"held": [self._held], "ttl_s": self._study.ttl}
                self._heed(self._call("heartbeat", body, patience=0.0).get("stop", ()))
            except StudyError:
                continue

    def _settle(self, status: str, patience: float | None = None, **more: Any) -> None:
        self._outcome = {**self._held, "status": status, **{name: value for name, value in more.items() if value}}
        self._send(patience)

    def _send(self, patience: float | None) -> None:
        assert self._outcome is not None
        # Who is told to end takes no more.
        lease = self.turns.order(self) if self.turns is not None and patience is None else {}
        body = {"reports": [self._outcome]}
        if lease:
            self._taking = _Going(lambda: self._call("report", body, patience=patience, **lease))
            self._taking.start()
            self._receive(self._taking.answer)
        else:
            self._receive(lambda: self._call("report", body, patience=patience))

    def _receive(self, ask: Callable[[], dict[str, Any]]) -> None:
        assert self._outcome is not None
        try:
            answer = ask()
            if self.turns is not None:
                self.turns.put(answer)
            self.verdict = answer["receipts"][0]["verdict"]
        except Refused as error:
            if error.status != 409:
                raise
            self.verdict = "stale"
        values = [*self._outcome.get("objective_values", ()), *self._outcome.get("constraint_values", ())]
        if self._outcome["status"] == "done" and not any(isinstance(value, str) for value in values):
            self._study.done += 1
        else:
            self._study.failed += 1

    def __enter__(self) -> Sample:
        self._before = _catch_termination()
        self._keeper.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        try:
            return self._conclude(error)
        finally:
            self._left.set()
            _let_terminate(self._before)
            self._keeper.join()

    def _conclude(self, error: BaseException | None) -> bool:
        """Report what came of it, or give it back; whether the error goes no further."""
        is_odd = isinstance(error, Refused) and error.status in (400, 409, 422)
        if self.verdict is not None or (isinstance(error, StudyError) and not is_odd):
            return False
        if isinstance(error, (KeyboardInterrupt, _Terminated)):
            self._wind_up()
        elif error is None:
            self._settle("failed", reason="the payload ended without a result")
        elif isinstance(error, Stop):
            self._settle("done", pruned=True)
        else:
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
            self._fail(error)
        return isinstance(error, Exception)

    def _fail(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        text = re.sub("[\0\ud800-\udfff]", "\ufffd", text)  # what no text may hold
        reason = text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
        self._outcome = {**self._held, "status": "failed", "reason": reason}
        if isinstance(error, (Unprocessable, Refused)):
            self._outcome["retry"] = False
        self._send(None)

    def _wind_up(self) -> None:
        """Send the result if there is one, give the sample back if not; as well as can be done in a moment."""
        if self._outcome is None:
            self.give_back()
            return
        taking = self._taking
        try:
            if taking is not None and taking.is_answered(WIND_UP_S / 2):
                # The next sample may have come with it, and is given back then.
                self._receive(taking.answer)
            else:
                self._send(WIND_UP_S / 2)
        except StudyError as error:
            sys.stderr.write(f"sample {self.id} was left: {error}\n")

    def give_back(self) -> None:
        """Have it evaluated by somebody else, which counts as no attempt; if need be when its lease has ended."""
        try:
            self._call("return", {"held": [self._held]}, patience=WIND_UP_S)
        except StudyError as error:
            sys.stderr.write(f"sample {self.id} was left: {error}\n")


class _Going(threading.Thread):
    """A call that goes on when who waits for its answer is interrupted."""

    def __init__(self, call: Callable[[], dict[str, Any]]) -> None:
        super().__init__(name="report", daemon=True)
        self._make = call
        self._done = threading.Event()
        self._found: dict[str, Any] = {}
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._found = self._make()
        except BaseException as error:  # noqa: BLE001 -- for who waits
            self._error = error
        finally:
            self._done.set()

    def is_answered(self, within_s: float) -> bool:
        return self._done.wait(within_s)

    def answer(self) -> dict[str, Any]:
        """The answer, waited for. Raises what the call does."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._found


class _Service:
    """Calls of the service, made again while it is away: each may be made twice, or is made as `again` says."""

    def __init__(self, url: str, token: str, patience_s: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("the URL of the service is to be as in https://idds.example.org:8443")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._patience_s = patience_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def call(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        wait_s: float = 0.0,
        patience: float | None = None,
        again: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The answer, a JSON object. Raises Refused, and Away after `patience` seconds (None: those of the study)."""
        end = time.monotonic() + (self._patience_s if patience is None else patience)
        delay_s = FIRST_DELAY_S
        while True:
            try:
                return self._once(path, body, TIMEOUT_S + wait_s)
            except Away as error:
                pause_s = max(delay_s * random.uniform(0.5, 1.0), error.retry_after_s)  # noqa: S311
                if time.monotonic() + pause_s > end:
                    raise
            time.sleep(pause_s)
            body = again
            delay_s = min(LONGEST_DELAY_S, 2 * delay_s)

    def _once(self, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(self._url + path, sent, self._headers)  # noqa: S310 -- its scheme was looked at
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError) and is_unsafe(reason):
                raise Refused(0, f"no safe connection to {self._url}: {why_unsafe(reason)}") from None
            raise Away(f"{self._url} cannot be reached: {reason}") from None
        except ValueError:
            raise Refused(0, f"{self._url} does not speak as this service does") from None
        if not isinstance(answer, dict):
            raise Refused(0, f"{self._url} does not speak as this service does")
        return answer


def is_unsafe(error: ssl.SSLError) -> bool:
    """Whether there will be no safe connection later either; else it broke while it was made."""
    return isinstance(error, ssl.SSLCertVerificationError) or error.reason in NO_TLS


def why_unsafe(error: ssl.SSLError) -> str:
    """What is wrong with a certificate, or with who shows none, and what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "there is no TLS there; is the port right, or is it a service without (http://)?"
    said = error.verify_message.rstrip(".")
    if error.verify_code in OTHER_NAMES:
        return f"{said}; call it by a name that its certificate has"
    if error.verify_code not in UNKNOWN_AUTHORITIES:
        return said
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return f"{said}; let SSL_CERT_FILE name the file of the authority that its certificate is of"
    found = "its authority is not in it" if os.path.isfile(file) else "no such file is there"  # noqa: PTH113
    return f"{said}; SSL_CERT_FILE names {file}, and {found}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection could take the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refusal(error: urllib.error.HTTPError) -> StudyError:
    try:
        document = json.loads(error.read(2**20))
        detail = "; ".join(f"{each['pointer']}: {each['message']}" for each in document.get("problems") or ())
        detail = detail or str(document["detail"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        detail = _foreign(error)
    if error.code in (429, 502, 503, 504):
        after = error.headers.get("Retry-After", "")
        return Away(detail[:MAX_REASON], float(after) if after.isdecimal() else 0.0)
    return Refused(error.code, detail[:MAX_REASON])


def _foreign(error: urllib.error.HTTPError) -> str:
    """Of an answer that does not come from this service, but from what stands before it, or is there instead."""
    said = f"the answer was {error.code}"
    if error.headers.get("Location"):
        return f"the service has another URL: {said}, to {error.headers['Location']}"
    return said if error.code >= FIRST_OF_SERVERS else f"{said}, not of this service; is the URL right?"


def _number(value: float) -> float | str:
    """JSON has no words for what is not finite; the service takes these."""
    number = float(value)
    return number if abs(number) < float("inf") else str(number)


def _environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"nothing was given, and {name} is not set")
    return value


def _token() -> str:
    if os.environ.get("IDDS_TOKEN"):
        return os.environ["IDDS_TOKEN"]
    with open(_environment("IDDS_TOKEN_FILE"), encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()


def _catch_termination() -> Any:
    """Have SIGTERM raise from now on, if nothing else is made of it yet; what it did before, None if it is left so."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        return signal.signal(signal.SIGTERM, _terminate)
    return None


def _let_terminate(before: Any) -> None:
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: Any) -> None:
    raise _Terminated(TERMINATED)
