"""`quarterdeck up` as people use it: it works on the runs, may be killed at any time, and shares a home with others."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import call
from deck_kit import Place, place_at, task
from server_kit import runs, up

from quarterdeck.assembly import served
from quarterdeck.kernel.failures import Exit


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as place:
        place.begin()
        yield place


def said(place: Place, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """A command of the command line in this process: exit code, stdout, stderr."""
    found = call(place, *arguments, cwd=place.repository, **environment)
    return found.code, found.out, found.err


def ordered(place: Place) -> list[str]:
    """The arguments of a run of one task."""
    return ["run", "--plan", str(place.plan(task("a", "echo done > a.txt"))), "--sandbox", "none"]


def test_a_run_is_left_to_the_server_and_ends_as_ever(place: Place) -> None:
    with up(place) as server:
        code, out, err = said(place, *ordered(place), "--json")
        assert code == Exit.DONE, err
        done = json.loads(out.splitlines()[-1])
        assert (done["kind"], done["status"]) == ("run.finished", "done")
        assert server.get(f"/runs/{done['run']}/result").json()["status"] == "done"
        assert "# " in server.get(f"/runs/{done['run']}/report").json()["markdown"]
        server.process.send_signal(signal.SIGTERM)
        _, told = server.process.communicate(timeout=30)
        assert server.process.returncode == Exit.DONE and "ended in order" in told
    assert not (place.home / "api.sock").exists()


def test_a_run_goes_on_when_its_server_is_killed(place: Place) -> None:
    """Whoever follows it takes it over."""
    with up(place, QUARTERDECK_PROBE="harness.finished:1:kill") as server:
        code, out, err = said(place, *ordered(place), "--json")
        assert server.process.wait(timeout=30) == -signal.SIGKILL
    assert code == Exit.DONE, err
    assert json.loads(out.splitlines()[-1])["status"] == "done"


def test_a_server_goes_on_with_what_a_killed_one_left(place: Place) -> None:
    with up(place, QUARTERDECK_PROBE="gate.queued:1:kill") as server:
        code, out, err = said(place, *ordered(place), "--detach", "--json")
        assert code == 0, err
        started = json.loads(out.splitlines()[-1])
        assert (started["kind"], started["pid"]) == ("run.detached", None)
        assert server.process.wait(timeout=30) == -signal.SIGKILL
    with up(place) as server:
        code, _, err = said(place, "logs", started["run"], "--follow")
        assert code == 0, err
        assert server.get(f"/runs/{started['run']}/result").json()["status"] == "done"


@pytest.mark.embedded("among several servers one that died counts as living for a minute; test_replies is on both")
def test_a_request_that_the_server_died_over_is_done_once(place: Place) -> None:
    order = {"plan": place.plan(task("a", "true")).read_text(), "repository": str(place.repository), "sandbox": "none"}
    with up(place, QUARTERDECK_PROBE="run.stored:1:kill") as server:
        with pytest.raises(Exception, match=r"disconnected|closed|reset"):
            server.post("/runs", order, idempotency_key="k1")
        assert server.process.wait(timeout=30) == -signal.SIGKILL
    left = runs(place)
    with up(place) as server:
        first, again = (server.post("/runs", order, idempotency_key="k1") for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json() == {"run": left[0]["run"]}
        assert first.headers["location"] == again.headers["location"] == f"/api/v1/runs/{left[0]['run']}"
        other = server.post("/runs", {**order, "budget_usd": 1}, idempotency_key="k1")
        assert other.status_code == 422
    assert [run["run"] for run in runs(place)] == [left[0]["run"]]


def test_the_command_line_orders_once_over_a_server_that_dies(place: Place) -> None:
    with up(place, QUARTERDECK_PROBE="run.stored:1:kill") as server:
        code, out, err = said(place, *ordered(place), "--json")
        assert server.process.wait(timeout=30) == -signal.SIGKILL
    assert code == Exit.DONE, err
    assert [run["run"] for run in runs(place)] == [json.loads(out.splitlines()[-1])["run"]]


def test_two_servers_share_a_home_and_the_second_takes_over(place: Place) -> None:
    with up(place) as first, up(place) as second:
        names = [server.get("/me").json()["name"] for server in (first, second)]
        assert names[0] == names[1]
        first.process.kill()
        first.process.wait(timeout=30)
        order = {"plan": place.plan(task("a", "echo x > a.txt")).read_text(), "repository": str(place.repository)}
        run = second.post("/runs", {**order, "sandbox": "none"}).json()["run"]
        code, _, err = said(place, "logs", run, "--follow")
        assert code == 0, err
        assert second.get(f"/runs/{run}/result").json()["status"] == "done"


def test_other_machines_need_a_token(place: Place) -> None:
    code, _, err = said(place, "up", "--host", "0.0.0.0", "--port", "0")
    assert code == Exit.USAGE and "quarterdeck token add" in err


def test_a_port_that_is_taken_and_a_run_that_the_server_cannot_carry_are_explained(place: Place) -> None:
    with up(place) as server:
        code, _, err = said(place, "up", "--port", server.url.rpartition(":")[2])
        told = " ".join(err.split())
        assert code == Exit.USAGE
        assert "cannot be listened on" in told and "quarterdeck up --port 0" in told, told
        assert "this deck has a server already" in told and f"open {server.url}, or" in told, told
        code, out, err = said(place, "run", "a goal", "--json", ANTHROPIC_API_KEY="only-here")
        told = " ".join(err.split())
        assert code == Exit.USAGE, out
        assert "as the server of this deck sees it" in told, told


def test_a_server_that_hangs_is_said_and_steering_needs_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_ALIVE_SECONDS", 0.2)
    with up(place, cold=True, QUARTERDECK_PROBE="harness.finished:1:stop") as server:
        order = {"plan": place.plan(task("a", "true")).read_text(), "repository": str(place.repository)}
        run = server.post("/runs", {**order, "sandbox": "none"}).json()["run"]
        assert os.waitid(os.P_PID, server.process.pid, os.WSTOPPED) is not None
        code, _, err = said(place, *ordered(place))
        assert code == Exit.UNREACHABLE and "did not answer" in err and "quarterdeck up" in err, err
        assert said(place, "cancel", run)[0] == Exit.DONE
        assert runs(place)[0]["attended"]
        server.process.kill()
    assert said(place, "resume", run)[0] == Exit.DONE or runs(place)[0]["status"] == "cancelled"


@pytest.mark.skipif(sys.platform != "linux", reason="a long path of a socket goes through /proc")
def test_a_home_with_a_long_path_has_its_socket_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with place_at(deep) as place:
        place.begin()
        with up(place):
            assert (place.home / "api.sock").stat().st_mode & 0o777 == 0o600
            code, out, err = said(place, *ordered(place), "--detach", "--json")
            assert code == 0 and json.loads(out)["pid"] is None, err
