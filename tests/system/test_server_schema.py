"""The API is asked everything that its description allows, and much that it does not: nothing is a server's error, and
every answer is one that the description names. Half of what is asked is about a run that there really is.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, place_at, task
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from server_kit import API, Server, runs, up

pytestmark = pytest.mark.xdist_group("schema")

EXAMPLES = 12
SLOW = {"/doctor": 2, "/audit/verify": 3, "/definitions": 4}
ENDLESS = "/stream"
CHECKED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as place:
        place.begin()
        yield place


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    with up(place) as server:
        yield server


@pytest.fixture
def real(place: Place, server: Server) -> dict[str, str]:
    """Ids of what there is: a run that has ended, its task, its attempt."""
    plan = place.plan(task("a", "echo x > a.txt")).read_text()
    order = {"plan": plan, "repository": str(place.repository), "sandbox": "none"}
    run = server.post("/runs", order).json()["run"]
    assert place.call("logs", run, "--follow")[0] == 0
    return {"run": run, "task": "a", "attempt": f"{run}.a.1", "repository": str(place.repository)}


def test_nothing_that_can_be_asked_is_a_servers_error(server: Server, real: dict[str, str], place: Place) -> None:
    # Loaded here: it takes longer than everything that the other tests load, and each worker would.
    schemathesis, known = importlib.import_module("schemathesis"), importlib.import_module("schemathesis.checks")
    known.load_all_checks()
    checks = [known.CHECKS.get_one(name) for name in CHECKED]
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json())
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        short = operation.path.removeprefix(API)
        if short == ENDLESS:
            continue

        @settings(
            max_examples=SLOW.get(short, EXAMPLES),
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), about_real=st.booleans())
        def ask(case: Any, about_real: bool) -> None:
            nonlocal asked
            for place_of in (case.path_parameters, case.query, case.body):
                if about_real and isinstance(place_of, dict):
                    place_of.update({name: real[name] for name in real if name in place_of})
            answer = case.call(base_url=server.url, timeout=60)
            case.validate_response(answer, checks=checks)
            asked += 1

        ask()
    assert asked > 200
    # And it still works.
    assert server.get(f"/runs/{real['run']}").json()["run"]["run"] == real["run"]
    assert real["run"] in {run["run"] for run in runs(place)}


def test_the_description_names_every_route_and_what_it_may_answer(server: Server) -> None:
    document = server.get("/openapi.json").json()
    written = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
    assert document == json.loads(written.read_text())
    for path, methods in document["paths"].items():
        assert path.startswith(API)
        for method, operation in methods.items():
            answers = operation["responses"]
            assert {"400", "401", "403", "421", "500", "503"} <= set(answers), (path, method)
            assert operation["summary"] and operation["description"], (path, method)
            if method == "post":
                assert {"408", "409", "412", "413", "415", "422"} <= set(answers), (path, method)
                if "session" not in path and "verify" not in path:
                    names = {each["name"] for each in operation["parameters"]}
                    assert "idempotency-key" in names, (path, method)
