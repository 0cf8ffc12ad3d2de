"""Whom a person's message is for, and when it is said that nobody can hear it."""

import pytest

from quarterdeck.agents.mail import Letter, Mail
from quarterdeck.delivery.telling import listener
from quarterdeck.journal.views import AttemptView
from quarterdeck.kernel.failures import Conflicting, NotFound

RUN = "r-1"


def attempt(name: str, status: str = "running", harness: str = "native") -> AttemptView:
    _, task, number = f"{RUN}.{name}".split(".")[:3]
    return AttemptView(f"{RUN}.{name}", RUN, task, int(number), "ant", harness, status, 1, 0.0, 0.0, 1)


def test_the_agent_at_work_is_told_not_the_attempt_before_nor_a_sub_agent() -> None:
    attempts = [attempt("a.1", "failed"), attempt("a.2"), attempt("a.2.sub1"), attempt("b.1", "finished")]
    assert listener(attempts, "task", f"{RUN}.a").attempt == f"{RUN}.a.2"
    assert listener(attempts, "run", RUN).attempt == f"{RUN}.a.2"
    assert listener(attempts, "attempt", f"{RUN}.a.2.sub1").attempt == f"{RUN}.a.2.sub1"


def test_a_reviewer_at_work_is_told_when_its_author_has_finished() -> None:
    attempts = [attempt("a.1", "finished"), attempt("a.1.review1", harness="acp")]
    assert listener(attempts, "task", f"{RUN}.a").attempt == f"{RUN}.a.1.review1"


def test_one_has_to_be_named_where_several_are_at_work() -> None:
    with pytest.raises(Conflicting, match=r"2 agents are at work") as found:
        listener([attempt("a.1"), attempt("b.1")], "run", RUN)
    assert f"{RUN}.b.1" in found.value.why


@pytest.mark.parametrize(
    ("attempts", "kind", "id", "says"),
    [
        ([attempt("a.1", harness="command")], "task", f"{RUN}.a", "reads its task once"),
        ([attempt("a.1", harness="git")], "run", RUN, "is no agent"),
        ([attempt("a.1", "merged")], "attempt", f"{RUN}.a.1", "is merged"),
        ([attempt("a.1", "waiting")], "task", f"{RUN}.a", "no agent is at work"),
        ([], "run", RUN, "no agent is at work"),
    ],
)
def test_who_cannot_hear_is_said_to_be_so(attempts: list[AttemptView], kind: str, id: str, says: str) -> None:
    with pytest.raises(Conflicting) as found:
        listener(attempts, kind, id)
    assert says in str(found.value)
    assert found.value.fix


def test_an_attempt_that_is_not_there() -> None:
    with pytest.raises(NotFound):
        listener([attempt("a.1")], "attempt", f"{RUN}.b.1")


def test_mail_is_delivered_to_whoever_listens() -> None:
    mail, heard = Mail(), list[Letter]()
    letter = Letter("m", "hello")
    assert not mail.deliver("a", letter)
    mail.listen("a", heard.append)
    assert mail.deliver("a", letter)
    mail.leave("a")
    mail.leave("a")
    assert not mail.deliver("a", letter)
    assert heard == [letter]
