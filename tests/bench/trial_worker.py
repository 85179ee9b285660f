"""A worker of the bench `trials`: it takes samples, computes, and reports. Arguments: KIND STUDY SAMPLER.

It says "ready", is told on its input for how many seconds to work, and says when which loss was found, as JSON.
"""

import http.client
import json
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

SPACE: Mapping[str, Mapping[str, Any]] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.9},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0},
    "layers": {"type": "int", "low": 1, "high": 12},
    "width": {"type": "int", "low": 8, "high": 1024, "log": True},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "rmsprop"]},
    "activation": {"type": "categorical", "choices": ["relu", "tanh", "gelu", "elu"]},
}

Trial = Callable[[], float]
"""Does one trial; its loss."""


def loss(point: Mapping[str, Any]) -> float:
    """Least, 0, at a point inside."""
    number = (math.log10(point["lr"]) + 2.5) ** 2 + (math.log10(point["decay"]) + 4) ** 2
    number += 10 * (point["dropout"] - 0.3) ** 2 + 10 * (point["momentum"] - 0.9) ** 2
    number += ((point["layers"] - 5) / 3) ** 2 + math.log2(point["width"] / 128) ** 2
    return float(number + (point["optimizer"] != "adam") + 0.5 * (point["activation"] != "gelu"))


def ours(url: str, study: str) -> Trial:
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"Authorization": f"Bearer {os.environ['BENCH_TOKEN']}", "Content-Type": "application/json"}

    def call(verb: str, body: Mapping[str, Any]) -> Any:
        connection.request("POST", f"/v1/collections/{study}/contents:{verb}", json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    order = {"lessee": f"bench-{os.getpid()}", "count": 1}
    held: list[Any] = []

    def one() -> float:
        while not held:
            held.extend(call("lease", {**order, "wait_s": 30})["contents"])
        content = held.pop()
        found = loss(content["parameters"])
        report = {"id": content["id"], "attempt": content["attempt"], "status": "done", "objective_values": [found]}
        answer = call("report", {"reports": [report], "lease": order})
        assert answer["receipts"][0]["verdict"] == "accepted"
        held.extend(answer["contents"])
        return found

    return one


def optuna_trial(storage: Any, name: str, sampler: str) -> Trial:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen: Any = optuna.samplers.RandomSampler() if sampler == "random" else optuna.samplers.TPESampler()
    study = optuna.create_study(storage=storage, study_name=name, sampler=chosen, load_if_exists=True)

    def one() -> float:
        trial = study.ask()
        found = loss({key: _suggested(trial, key, parameter) for key, parameter in SPACE.items()})
        study.tell(trial, found)
        return found

    return one


def _suggested(trial: Any, name: str, parameter: Mapping[str, Any]) -> Any:
    if parameter["type"] == "categorical":
        return trial.suggest_categorical(name, parameter["choices"])
    suggest = trial.suggest_int if parameter["type"] == "int" else trial.suggest_float
    return suggest(name, parameter["low"], parameter["high"], log=parameter.get("log", False))


def peer(kind: str, where: str, name: str, sampler: str) -> Trial:
    match kind:
        case "rdb":
            return optuna_trial(where, name, sampler)
        case "journal":
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            return optuna_trial(JournalStorage(JournalFileBackend(where)), name, sampler)
        case "grpc":
            from optuna.storages import GrpcStorageProxy

            return optuna_trial(GrpcStorageProxy(host="localhost", port=int(where)), name, sampler)
        case _:
            return vizier_trial(where, name)


def vizier_trial(endpoint: str, name: str) -> Trial:
    from vizier.service import clients, pyvizier  # type: ignore[import-not-found]

    clients.environment_variables.server_endpoint = endpoint
    config = pyvizier.StudyConfig(algorithm="RANDOM_SEARCH")
    for key, parameter in SPACE.items():
        root, scale = config.search_space.root, pyvizier.ScaleType.LOG if parameter.get("log") else None
        if parameter["type"] == "categorical":
            root.add_categorical_param(key, parameter["choices"])
        elif parameter["type"] == "int":
            root.add_int_param(key, parameter["low"], parameter["high"], scale_type=scale)
        else:
            root.add_float_param(key, parameter["low"], parameter["high"], scale_type=scale)
    goal = pyvizier.ObjectiveMetricGoal.MINIMIZE
    config.metric_information.append(pyvizier.MetricInformation("loss", goal=goal))
    study = clients.Study.from_study_config(config, owner="bench", study_id=name)

    def one() -> float:
        (suggestion,) = study.suggest(count=1, client_id=f"bench-{os.getpid()}")
        found = loss(suggestion.parameters)
        suggestion.complete(pyvizier.Measurement({"loss": found}))
        return found

    return one


def serve_grpc() -> None:
    from optuna.storages import InMemoryStorage, run_grpc_proxy_server

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    print(port, flush=True)
    run_grpc_proxy_server(InMemoryStorage(), host="localhost", port=port)


def serve_vizier() -> None:
    from vizier.service import servers

    server = servers.DefaultVizierServer(host="localhost")
    print(server.endpoint, flush=True)
    sys.stdin.read()


def main(kind: str, study: str, sampler: str) -> None:
    if kind.endswith("-server"):
        (serve_grpc if kind == "grpc-server" else serve_vizier)()
        return
    where = os.environ["BENCH_WHERE"]
    one = ours(where, study) if kind == "ours" else peer(kind, where, study, sampler)
    print("ready", flush=True)
    end = time.monotonic() + float(sys.stdin.readline())
    losses: list[tuple[float, float]] = []
    while time.monotonic() < end:
        loss_found = one()
        losses.append((time.monotonic(), loss_found))
    print(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
