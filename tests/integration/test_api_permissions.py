"""Who may call which route: every role on every route of the registry."""

from typing import Any

from idds.api.registry import ROUTES
from idds.api.route import Caller, Route
from idds.domain.request import HOUSE, Principal, Role
from tests.integration.api import STUDY, Api, api_on

PUBLIC, PAYLOAD, READER, USER, OPERATOR = Caller.PUBLIC, Caller.PAYLOAD, Caller.READER, Caller.USER, Caller.OPERATOR
LEASE = {"lessee": "a"}
HEARTBEAT = {"held": [{"id": 1, "attempt": 1}]}
REPORT = {"reports": [{"id": number, "attempt": 1, "status": "done"} for number in (1, 2)]}
"""Of two: a single one of another collection is none of that, 404."""

EXPECTED: dict[str, tuple[Caller, Any]] = {
    "submitRequest": (USER, {"workflow": STUDY}),
    "listRequests": (READER, None),
    "showRequest": (READER, None),
    "cancelRequest": (USER, None),
    "suspendRequest": (USER, None),
    "resumeRequest": (USER, None),
    "finishRequest": (USER, None),
    "retryRequest": (USER, {}),
    "extendRequest": (USER, {"lifetime_s": None}),
    "listTransforms": (READER, None),
    "showTransform": (READER, None),
    "listProcessings": (READER, None),
    "showProcessing": (READER, None),
    "listMoves": (READER, None),
    "explainRequest": (READER, None),
    "showContent": (READER, None),
    "listTroubles": (READER, None),
    "showSeries": (READER, None),
    "showLandings": (READER, None),
    "listStudies": (READER, None),
    "showStudy": (READER, None),
    "listBest": (READER, None),
    "listSamples": (READER, None),
    "showSample": (READER, None),
    "showStudySeries": (READER, None),
    "showStudyPoints": (READER, None),
    "weighParameters": (READER, None),
    "showStudyCurves": (READER, None),
    "showStudyDelivery": (READER, None),
    "showCollection": (READER, None),
    "listContents": (READER, None),
    "registerContents": (USER, {"contents": [{"name": "a"}]}),
    "closeCollection": (USER, None),
    "redefineStudy": (USER, {"changes": [{"change": "narrow", "parameter": "x", "high": 0.9}], "reason": "test"}),
    "listVersions": (READER, None),
    "leaseContents": (PAYLOAD, LEASE),
    "extendLeases": (PAYLOAD, HEARTBEAT),
    "reportContents": (PAYLOAD, REPORT),
    "returnContents": (PAYLOAD, HEARTBEAT),
    "reportIntermediates": (PAYLOAD, {"values": [{"id": 1, "attempt": 1, "step": 0, "value": 0.5}]}),
    "issueToken": (USER, {}),
    "readLogs": (READER, None),
    "listWindows": (OPERATOR, None),
    "countReplicas": (OPERATOR, None),
    "showCarousel": (READER, None),
    "forecastRequest": (READER, None),
    "listHolds": (READER, None),
    "holdStorage": (OPERATOR, {"kind": "tape", "ref": "TAPE", "reason": "robot"}),
    "resumeStorage": (OPERATOR, {"kind": "tape", "ref": "TAPE"}),
    "changeWindow": (OPERATOR, {"rse": "DISK", "bytes": 1}),
    "retireUnused": (OPERATOR, {"rse": "DISK", "idle_s": 1}),
    "changeSource": (OPERATOR, {"source": "TAPE"}),
    "changeDestination": (OPERATOR, {"rse": "DISK"}),
    "forceStaging": (OPERATOR, None),
    "releaseRequest": (OPERATOR, None),
    "whoami": (Caller.HOLDER, None),
    "listIssuers": (PUBLIC, None),
    "makeToken": (USER, {}),
    "listTokens": (USER, None),
    "revokeToken": (USER, None),
    "listAudit": (OPERATOR, None),
    "listenToEvents": (READER, None),
    "listenToRequest": (READER, None),
    "metrics": (Caller.HOUSE, None),
    "listAgents": (READER, None),
    "takeRucioEvents": (PUBLIC, None),
    "healthz": (PUBLIC, None),
    "readyz": (PUBLIC, None),
    "openapi": (PUBLIC, None),
    "docs": (PUBLIC, None),
}
HOLDER = Caller.HOLDER
ADMITTED = {
    "nobody": {PUBLIC},
    "unknown": {PUBLIC},
    "expired": {PUBLIC},
    "revoked": {PUBLIC},
    "payload": {PUBLIC, HOLDER, PAYLOAD},
    "payload of another": {PUBLIC, HOLDER},
    "reader": {PUBLIC, HOLDER, READER},
    "reader of the house": {PUBLIC, HOLDER, READER, Caller.HOUSE},
    "user": {PUBLIC, HOLDER, PAYLOAD, READER, USER},
    "wfms": {PUBLIC, HOLDER, PAYLOAD, READER, USER, Caller.WFMS},
    "operator": set(Caller),
}
UNKNOWN = {"nobody", "unknown", "expired", "revoked"}
NOBODYS = 10**12
"""The id of nothing."""


async def test_every_route_lets_in_whom_it_is_for_and_nobody_else(sqlite_url: str) -> None:
    assert {route.name: route.caller for route in ROUTES} == {name: caller for name, (caller, _) in EXPECTED.items()}
    async with api_on(sqlite_url) as api:
        number = await _one_for_all(api)
        tokens = await _tokens(api, number)
        for route in ROUTES:
            # Who is let in revokes nothing that is still needed.
            target = NOBODYS if route.name == "revokeToken" else number
            path = route.path.replace("{id}", str(target)).replace("{stream}", "stdout").replace("{number}", "0")
            caller, body = EXPECTED[route.name]
            for role, admitted in ADMITTED.items():
                answer = await api.call(route.method, path, body, token=tokens[role])
                place = (route.name, role, answer.document)
                if caller in admitted:
                    assert answer.status not in (401, 403), place
                elif role in UNKNOWN:
                    assert answer.status == 401, place
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer"), place
                else:
                    assert answer.status == 403, place


async def _one_for_all(api: Api) -> int:
    """A number that is a request's and a collection's."""
    request = await api.submit()
    assert await api.input_of(request) == request == 1
    return request


async def _tokens(api: Api, collection: int) -> dict[str, str]:
    other = await api.input_of(await api.submit())
    issued = [(await api.post(f"/v1/collections/{each}:token", {}))["token"] for each in (collection, other)]
    revoked = await api.post("/v1/tokens", {})
    await api.post(f"/v1/tokens/{revoked['id']}:revoke", None)
    return {
        "nobody": "",
        "unknown": "idds_unknown",
        "expired": await api.doors.access.issue(Principal("owner", "vo"), lifetime=0),
        "revoked": revoked["token"],
        "payload": issued[0],
        "payload of another": issued[1],
        "reader": await api.new_token("reader", role=Role.READER),
        "reader of the house": await api.new_token("prometheus", HOUSE, role=Role.READER),
        "user": api.token,
        "wfms": await api.new_token("wfms", role=Role.WFMS),
        "operator": await api.new_token("operator", role=Role.OPERATOR),
    }


async def test_tokens_that_are_none_are_refused(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        for header in ("", "Bearer", "Bearer ", "Basic YTpi", f"Bearer {api.token} x", "Bearer \xe4", api.token):
            answer = await api.call("GET", "/v1/requests", token="", headers={"Authorization": header})
            assert answer.status == 401, header
            assert api.token not in str(answer.document)


SEES = {
    # who: whether it sees what is its owner's, another owner's, another VO's, another share's
    ("alice", "vo", Role.USER): (True, False, False, True),
    ("alice", "vo", Role.USER, "a"): (True, False, False, False),
    ("alice", "vo", Role.READER): (True, True, False, True),
    ("alice", "vo", Role.READER, "a"): (True, True, False, False),
    ("alice", "vo", Role.WFMS): (True, True, False, True),
    ("alice", "vo", Role.WFMS, "a"): (True, True, False, False),
    ("alice", "vo", Role.OPERATOR): (True, True, True, True),
    ("alice", "vo", Role.OPERATOR, "a"): (True, True, True, False),
    ("alice", "elsewhere", Role.WFMS): (False, False, False, False),
}
THINGS = (("alice", "vo", "a"), ("bob", "vo", "a"), ("alice", "other", "a"), ("alice", "vo", "b"))
OF_NO_REQUEST = {"revokeToken"}
"""Whose ids are not of what belongs to a request; test_api_access.py tells whose tokens are whose."""
THERE_LATER = {"readLogs"}
"""What nobody finds yet."""
BOTH = {"name": "both", "works": [*STUDY["works"], {"name": "run", "payload": {"argv": ["true"]}}]}


async def test_everybody_sees_what_is_his_to_see(sqlite_url: str) -> None:
    """Each route with an id, each kind of caller, each kind of thing: 404 for what is not his to see."""
    async with api_on(sqlite_url) as api:
        await _things(api)
        for who, sees in SEES.items():
            owner, vo, role, *shares = who
            token = await api.doors.access.issue(Principal(owner, vo, role, frozenset(shares) or None))
            listed = await api.get("/v1/requests", token=token)
            assert [r["id"] for r in reversed(listed["requests"])] == [n for n, seen in enumerate(sees, 1) if seen], who
            for route in ROUTES:
                caller, body = EXPECTED[route.name]
                if "{id}" not in route.path or caller not in ADMITTED[role] or route.name in OF_NO_REQUEST:
                    continue
                for number, is_seen in enumerate(sees, 1):
                    status = await _status(api, route, number, body, token)
                    place = (route.name, who, THINGS[number - 1], status)
                    assert status == 404 or is_seen, place
                    assert status != 404 or not is_seen or route.name in THERE_LATER, place


async def _things(api: Api) -> None:
    """A request of each kind; its number is its collection's and its processing's, and half its last transform's.

    Of its contents the first is `_first` of it.
    """
    for number, (owner, vo, share) in enumerate(THINGS, 1):
        token = await api.doors.access.issue(Principal(owner, vo))
        answer = await api.call("POST", "/v1/requests", {"workflow": BOTH, "share": share}, token=token)
        await api.advance()
        whole = await api.get(f"/v1/requests/{number}", token=token)
        inputs = [each for each in whole["collections"] if each["relation"] == "input"]
        processings = (await api.get(f"/v1/requests/{number}/processings", token=token))["processings"]
        ids = (answer.document["id"], inputs[0]["id"], processings[0]["id"], whole["transforms"][-1]["id"])
        assert ids == (number, number, number, 2 * number)
        contents = (await api.get(f"/v1/collections/{number}/contents", token=token))["contents"]
        assert contents[0]["id"] == _first(number)


def _first(number: int) -> int:
    """Each has as many contents as samples may be in flight."""
    return 4 * (number - 1) + 1


async def _status(api: Api, route: Route, number: int, body: Any, token: str) -> int:
    """How a call is answered; what it is answered may be endless, and is not read."""
    if route.path.startswith("/v1/transforms/"):
        number = 2 * number
    if route.path.startswith("/v1/contents/"):
        number = _first(number)
    path = route.path.replace("{id}", str(number)).replace("{stream}", "stdout").replace("{number}", "0")
    headers = {"Authorization": f"Bearer {token}"}
    async with api.client.request(route.method, path, headers=headers, json=body) as response:
        return response.status
