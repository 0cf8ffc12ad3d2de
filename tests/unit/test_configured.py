"""What a process offers beside the work of runs, and in which queue waits what wants it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.assembly.configured import offers
from quarterdeck.engine.port import Job
from quarterdeck.engine.queues import BACKGROUND, CONTROL, NOTHING, QUEUES, WORK, offered, offering, queue_of, served
from quarterdeck.kernel.config import OperatorConfig
from quarterdeck.triggers.port import FOREGROUND_TRIES, look, publish

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
    both = {f"trigger/{name}"}
    queue = queue_of(Job("take", "k", "l", "", runs_on=needs, wants=f"trigger/{name}"), both)
    assert len(queue) <= 40, "the server could not tell of it"
    server = served(offering((), both), has, both)
    assert (queue in server) == (set(needs) <= set(has))
    assert (queue in served(offering((), both), has)) == (not needs), "it was not said that it may name labels"
    assert queue not in served(offering(QUEUES, ["trigger/-other", "notify"]), has)
    assert queue not in served((CONTROL, WORK, BACKGROUND), has)


def test_a_worker_with_all_labels_has_a_queue_for_each_choice_of_them_once_and_not_for_each_trigger() -> None:
    labels = [f"l{n}" for n in range(6)] + ["host=here", "sandbox=none"]
    triggers = [f"trigger/t{n}" for n in range(10)]
    found = served(offering(QUEUES, [*triggers, "notify", "github"]), labels, {"github"})
    assert len(found) == len(set(found)) == 3 * 2 ** len(labels) + len(triggers) + 1
    assert {"for:notify", "for:github", *(f"for:{name}" for name in triggers)} <= set(found)
    there = Job("run.publish", "k", "l", "", runs_on=("l0", "host=here"), wants="github")
    assert queue_of(there, {"github"}) in found


def test_whether_a_run_came_from_a_server_is_looked_at_by_anybody_and_waits_behind_no_long_job() -> None:
    assert queue_of(look("r-1", "finished")) == CONTROL
    assert queue_of(publish("r-1", "finished")) == "for:github"
    assert publish("r-1", "finished", number=FOREGROUND_TRIES).priority == 0
    assert publish("r-1", "finished", number=FOREGROUND_TRIES + 1).priority < 0


def test_a_job_that_nobody_would_ever_take_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="names no labels"):
        queue_of(Job("trigger.take", "k", "l", "", runs_on=("gpu",), wants="trigger/t"))


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
