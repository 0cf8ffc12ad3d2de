"""Who may ask the server what, and what an error is over HTTP: the pure parts of the API's door."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.doors.api.problems import error_of, of_error, status_of
from quarterdeck.doors.api.trust import Person, Way, from_elsewhere, host_known, is_json, token_of, way_of
from quarterdeck.doors.site import POLICY, page
from quarterdeck.kernel import addresses, failures
from quarterdeck.kernel.addresses import HIDDEN
from quarterdeck.settings.tokens import Role

ERRORS = [
    kind
    for kind in vars(failures).values()
    if inspect.isclass(kind)
    and issubclass(kind, failures.QuarterdeckError)
    and "kind" not in inspect.signature(kind).parameters
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("why", ["", "because of that: really"])
def test_an_error_is_the_same_behind_the_wire(kind: type[failures.QuarterdeckError], why: str) -> None:
    error = kind("it went wrong", why=why, fix="quarterdeck doctor")
    problem = of_error(error, "/api/v1/x", "r-1")
    again = error_of(problem)
    assert type(again) is kind
    assert (again.message, again.why, again.fix, again.exit_code) == (
        error.message,
        error.why,
        error.fix,
        error.exit_code,
    )
    assert str(again) == problem.detail == str(error)
    assert 400 <= problem.status == status_of(error) <= 599 and problem.run == "r-1"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (failures.NotFound(), 404),
        (failures.Conflicting(), 409),
        (failures.StaleVersion(), 412),
        (failures.NotAllowed(), 403),
        (failures.BadPlan(), 422),
        (failures.SandboxUnavailable(), 422),
        (failures.MissingPart(), 501),
        (failures.StoreLost(), 503),
        (failures.ModelFailed("x", failures.FailureClass.AUTH), 502),
        (failures.QuarterdeckError(), 500),
    ],
)
def test_the_class_of_an_error_decides_the_status(error: failures.QuarterdeckError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7373", "[::1]:1", "localhost", "LOCALHOST:80", "10.0.0.1"])
def test_addresses_and_localhost_name_this_server(host: str) -> None:
    assert host_known(host, ())


@given(st.text(max_size=60))
def test_no_other_name_does(text: str) -> None:
    assert not host_known(f"{text}.evil.example", ())
    assert not host_known(f"{text}@evil.example", ())


def test_a_name_that_the_operator_gave_does() -> None:
    assert host_known("deck.example.org:443", ("Deck.example.org",))
    assert not host_known("deck.example.org.evil.example", ("deck.example.org",))


@given(st.text(max_size=60))
def test_only_our_own_pages_and_no_page_may_change_something(text: str) -> None:
    host = "127.0.0.1:7373"
    assert from_elsewhere({"host": host}) == ""
    assert from_elsewhere({"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}) == ""
    if text not in (f"http://{host}", f"https://{host}"):
        assert from_elsewhere({"host": host, "origin": text})
    if text not in ("same-origin", "none"):
        assert from_elsewhere({"host": host, "sec-fetch-site": text})


@pytest.mark.parametrize(
    ("host", "way"),
    [
        ("127.0.0.1", Way.LOOPBACK),
        ("127.8.8.8", Way.LOOPBACK),
        ("::1", Way.LOOPBACK),
        ("localhost", Way.LOOPBACK),
        ("0.0.0.0", Way.NETWORK),
        ("::", Way.NETWORK),
        ("192.168.1.2", Way.NETWORK),
        ("deck.example.org", Way.NETWORK),
        ("", Way.NETWORK),
    ],
)
def test_only_loopback_is_this_machine_alone(host: str, way: Way) -> None:
    assert way_of(host) is way


def test_a_role_holds_what_is_below_it() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for held in order:
        may = [Person("ada", held).may(role) for role in order]
        assert may == [order.index(held) >= order.index(role) for role in order]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_known(kind: str) -> None:
    assert is_json(kind) and not is_json(f"x{kind}") and not is_json("")


def test_a_token_is_a_bearers() -> None:
    assert token_of({"authorization": "bearer  qd_x "}) == "qd_x"
    assert token_of({"authorization": "Basic qd_x"}) == token_of({}) == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://models.example/v1", "https://models.example/v1"),
        ("https://user:word@models.example:8443/v1?key=word#word", f"https://models.example:8443/v1?{HIDDEN}"),
        ("http://[", "http://["),
        ("http://user:wo/rd@host:port", "http://host:port"),
        ("user:word@host:8000/v1", "host:8000/v1"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert addresses.shown(url) == shown


def test_files_with_a_digest_last_and_the_page_does_not() -> None:
    script = page("assets/index-Bx3kQ9_a.js", b"x = 1;" * 1000)
    assert script.lasting and script.packed is not None and script.kind.startswith("text/javascript")
    assert not page("index.html", b"<p>").lasting
    assert "unsafe" not in POLICY and "http" not in POLICY
