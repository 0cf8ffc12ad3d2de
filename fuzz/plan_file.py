"""Plan files, in YAML and in JSON.

Rules
- Declared: BadPlan. Any other exception is a bug, and so is more than a second or 256 MiB for one file.
- A plan that was read is written and read back as the same plan, and it can be stored.
- Whatever was read can be judged: its warnings, its repairs and the match of its globs end, and do not raise.
"""

from collections.abc import Sequence

from quarterdeck.delivery.plans import globs
from quarterdeck.delivery.plans.plan import check_plan, dump_plan, parse_plan, plan_warnings, repair_plan
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.failures import BadPlan

INSTRUMENTED = ("quarterdeck.delivery", "quarterdeck.kernel")
WORDS = (
    *("v: 1", "goal:", "tasks:", "- id:", "title:", "paths:", "needs:", "verify:", "agent:", "budget_usd:", "design:"),
    *('"v": 1', '"tasks": [', '"id":', "&a", "*a", "<<:", "|-", ">", "!!str", "? ", "%YAML", "---", "...", "**/", "[!"),
    *("\\ud800", "NaN", "1e999", "\u2028", "\x85", "\ufeff", "~", "null", "true"),
)

_FILE = "src/a b/c.py"


def one(data: bytes) -> None:
    """Read it as a file of either name."""
    for origin in ("plan.yaml", "plan.json"):
        try:
            plan = parse_plan(data, origin=origin, agents=("implementer",) if len(data) % 2 else None)
        except BadPlan as error:
            str(error).encode()
            continue
        _use(plan)


def _use(plan: Plan) -> None:
    written = dump_plan(plan)
    again = parse_plan(written.encode(), origin="again.yaml")
    assert again == plan, "written and read back it is another plan"
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    plan_warnings(plan)
    for task in plan.tasks:
        globs.outside(task.paths, (_FILE, "a" * 200 + "b"), (_FILE,))
    repaired, _ = repair_plan(plan)
    try:
        check_plan(repaired, origin="repaired")
    except BadPlan:
        raise AssertionError("a usable plan was repaired into a bad one") from None


def seeds() -> Sequence[bytes]:
    """Plans of each style, and beginnings of bad ones."""
    full = """v: 1
goal: Retry with backoff
design: |
  two lines
  of text
tasks:
  - id: backoff
    title: "Exponential: helper"
    instructions: |-
      do it
    paths: ["src/hooks/backoff.py", 'tests/**/*.py', "doc?/[a-c]*", "dir/"]
    needs: []
    agent: implementer
    verify: ["pytest -q", true]
    budget_usd: 0.50
  - {id: other, title: t, paths: [a, ./b, b], needs: [backoff, backoff]}
"""
    found = [
        full,
        '{"v": 1, "goal": "g", "tasks": [{"id": "a", "title": "t", "paths": ["x"], "budget_usd": 1e2, "needs": []}]}',
        "v: 1\ngoal: &g x\ntasks:\n- &t {id: a, title: *g, paths: [a/**/b, '*', '**/c/']}\n",
        "v: 1\ngoal: >\n  folded\n  text\n\ntasks: [{id: a, title: t, paths: ['a\\*', \"\\u2028\"], verify: ['']}]\n",
        "v: 1\ngoal: g\ntasks:\n- {id: a, title: t, paths: [a], needs: [b]}\n"
        "- {id: b, title: t, paths: [a], needs: [a]}\n",
        "[" * 60,
        '{"a":' * 60,
        "--- !x\n",
    ]
    return [text.encode() for text in found]
