"""Nodes whose job was lost get it again, and nothing else does."""

from quarterdeck.delivery import jobs
from quarterdeck.delivery.dispatch import revived
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.folding import fold
from quarterdeck.testing import stories

PLAN = Plan(goal="g", tasks=tuple(Task(id=name, title=name, paths=(name,)) for name in ("a", "b", "c")))
CREATED = stories.created(budget_nusd=0)


def test_running_nodes_get_their_job_again() -> None:
    state = fold(
        [
            CREATED,
            e.RunPlanned(plan_blob="p", tasks=3),
            e.TaskDispatched(task="a", attempt="r-1.a.1", number=1, agent="x", feedback_blob="f"),
            e.TaskDispatched(task="b", attempt="r-1.b.1", number=1, agent="x"),
            e.NodeFinished(node=Node.IMPLEMENT, outcome=Outcome.OK, task="b", attempt="r-1.b.1"),
        ]
    )
    found = revived(state, PLAN, RunConfig(deck=DeckConfig(), default_agent="x"))
    assert found == (jobs.work("r-1", Node.IMPLEMENT, "r-1.a.1", plan_blob="p", agent="x", feedback_blob="f"),)


def test_a_finished_run_gets_nothing() -> None:
    state = fold([CREATED, e.RunFinished(status=e.RunStatus.FAILED, exit_code=1, sha="0")])
    assert revived(state, PLAN, RunConfig(deck=DeckConfig())) == ()
