"""What a process offers beside the work of runs, and in which queue waits what wants it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.assembly.configured import offers
from quarterdeck.engine.port import Job
from quarterdeck.engine.queues import BACKGROUND, CONTROL, NOTHING, QUEUES, WORK, offered, offering, queue_of, served
from quarterdeck.kernel.config import OperatorConfig

TRIGGER = {"kind": "webhook", "repository": "/srv/shop", "secret_env": "HOOK", "goal": "do it"}


@pytest.mark.parametrize(
    ("secrets", "found"),
    [
        (set(), ("trigger/tickets",)),
        ({"BELL"}, ("trigger/tickets", "notify")),
        ({"GH", "HOOK"}, ("trigger/tickets", "github")),
    ],
)
def test_a_process_offers_what_its_file_names_and_its_environment_holds(
    secrets: set[str], found: tuple[str, ...]
) -> None:
    file = OperatorConfig.model_validate(
        {
            "triggers": {"tickets": TRIGGER},
            "notify": {"url": "https://example.org/n", "secret_env": "BELL"},
            "github": {"token_env": "GH"},
        }
    )
    assert offers(file, secrets.__contains__) == found


def test_who_has_no_file_offers_nothing() -> None:
    assert offers(OperatorConfig(), set().__contains__) == ()


LABELS = st.lists(st.sampled_from(("gpu", "arch=arm64", "host=a")), unique=True).map(tuple)


@given(st.from_regex(r"[a-z]{1,60}", fullmatch=True), LABELS, LABELS)
def test_what_wants_something_waits_where_only_those_look_that_offer_it(
    name: str, needs: tuple[str, ...], has: tuple[str, ...]
) -> None:
    queue = queue_of(Job("take", "k", "l", "", runs_on=needs, wants=f"trigger/{name}"))
    assert len(queue) <= 40, "the server could not tell of it"
    server = served(offering((), [f"trigger/{name}"]), has)
    assert (queue in server) == (set(needs) <= set(has))
    assert queue not in served(offering(QUEUES, ["trigger/-other", "notify"]), has)
    assert queue not in served((CONTROL, WORK, BACKGROUND), has)


def test_who_takes_a_part_of_the_work_alone_takes_nothing_from_outside() -> None:
    assert offering((WORK,), ["github"]) == (WORK,)
    assert offering((BACKGROUND,), ["github"]) == (BACKGROUND, "for:github")
    assert offering((), []) == ()
    assert NOTHING not in served(QUEUES, ())


def test_a_server_that_takes_nothing_of_the_runs_does_not_work_on_them() -> None:
    queues = offering((), ["github"])
    assert not offered(queues, "")
    assert offered(queues, "github")
    assert offered(QUEUES, "")
    assert not offered(QUEUES, "github")
