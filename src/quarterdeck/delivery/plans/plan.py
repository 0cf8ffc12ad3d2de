"""Plan files: read, checked, mended where that is unambiguous, written.

Rules
- A plan is refused with the place and the reason, before anything is started. A wrong form ends the reading; what is
  wrong in a well-formed plan is said all at once.
- What was written is taken as written: `verify: [true]` is the command `true`.
- A warning never refuses a plan and never blocks a task.
- `dump_plan` writes what `parse_plan` reads back as the same plan.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from quarterdeck.delivery.plans import document
from quarterdeck.delivery.plans.document import Node, Place, Scalar, Sequence, short
from quarterdeck.delivery.plans.globs import glob_problem, is_everything
from quarterdeck.delivery.plans.graph import find_cycle, needs_of, overlaps
from quarterdeck.kernel.complaints import complaint, did_you_mean
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.failures import BadPlan

T = TypeVar("T")

MAX_TASKS: Final = 1_000
MAX_TEXT: Final = document.MAX_BYTES
MAX_WARNINGS: Final = 50
_MAX_PROBLEMS: Final = 20

_PLAN_KEYS: Final = ("v", "goal", "tasks", "design")
_TASK_KEYS: Final = (
    "id",
    "title",
    "instructions",
    "paths",
    "needs",
    "agent",
    "verify",
    "budget_usd",
    "design",
    "runs_on",
)
_ID_RULE: Final = "an id is 1 to 64 of a-z, 0-9 and `-`, and does not begin or end with `-`"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BREAKS: Final = frozenset("\r\x85\u2028\u2029")
"""Line breaks of YAML that only quotes and escapes keep apart from `\\n`."""
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Problem:
    """What makes one key of one task unusable."""

    number: int
    """The task's place in the plan, from 0."""
    task: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"task {self.task}, {self.key}: {self.why}"


def parse_plan(data: bytes, *, origin: str, agents: Collection[str] | None = None) -> Plan:
    """The plan of a YAML or JSON file.

    `origin`: what to call the file in a message. `agents`: names that tasks may give to `agent`; None = not checked.
    Raises BadPlan.
    """
    reader = _Reader(origin)
    plan = reader.plan(document.read_document(data, origin=origin))
    problems = plan_problems(plan, agents)
    if problems:
        raise document.refuse(origin, "", _sentence([reader.locate(problem) for problem in problems]))
    return plan


def check_plan(plan: Plan, *, origin: str, agents: Collection[str] | None = None) -> None:
    """The same checks for a plan that did not come from a file (a planner's handoff). Raises BadPlan."""
    problems = plan_problems(plan, agents)
    if problems:
        raise document.refuse(origin, "", _sentence([str(problem) for problem in problems]))


def plan_problems(plan: Plan, agents: Collection[str] | None = None) -> tuple[Problem, ...]:
    """Everything that makes a well-formed plan unusable."""
    seen: set[str] = set()
    ids = {task.id for task in plan.tasks}
    found: list[Problem] = []
    known = f" (known: {', '.join(sorted(agents)) or 'none'})" if agents is not None else ""
    for number, task in enumerate(plan.tasks):
        for key, why in _task_problems(task, ids, seen, agents):
            told = key == "agent"
            found.append(Problem(number, task.id, key, f"{why}{known if told else ''}"))
            known = "" if told else known  # once for all tasks
        seen.add(task.id)
    if not found and (cycle := find_cycle(needs_of(plan))):
        chain = " needs ".join(f"`{task}`" for task in (*cycle, cycle[0]))
        number = next(at for at, task in enumerate(plan.tasks) if task.id == cycle[0])
        found.append(Problem(number, cycle[0], "needs", f"a cycle: {chain}"))
    return tuple(found)


def _task_problems(
    task: Task, ids: Collection[str], seen: Collection[str], agents: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    if task.id in seen:
        yield "id", "this id stands twice"
    for need in task.needs:
        if need not in ids:
            yield "needs", f"unknown task `{need}`{did_you_mean(need, ids)}"
    for path in task.paths:
        if problem := glob_problem(path):
            yield "paths", f"{problem}: `{short(path)}`"
    if agents is not None and task.agent is not None and task.agent not in agents:
        yield "agent", f"unknown agent `{short(task.agent)}`"
    if any(not command.strip() for command in task.verify):
        yield "verify", "an empty command"
    if any("\0" in command for command in task.verify):
        yield "verify", "a NUL character, which no command can hold"


def plan_warnings(plan: Plan) -> tuple[str, ...]:
    """What is worth a look in a usable plan, at most `MAX_WARNINGS` sentences."""
    found = [
        f"task {task.id} has no `verify` command: only the gate checks it" for task in plan.tasks if not task.verify
    ]
    for task in plan.tasks:
        wide = [path for path in task.paths if is_everything(path)]
        if wide:
            found.append(f"task {task.id} may change everything (`{wide[0]}`)")
    for overlap in overlaps(plan, MAX_WARNINGS):
        one, other = overlap.paths
        where = f"`{short(one)}`" if one == other else f"`{short(one)}` and `{short(other)}`"
        found.append(f"tasks {overlap.one} and {overlap.other} may change the same files ({where}) in either order")
    if len(found) > MAX_WARNINGS:
        return (*found[: MAX_WARNINGS - 1], f"and {len(found) - MAX_WARNINGS + 1} more warnings")
    return tuple(found)


def repair_plan(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan without what can only be a slip, and a note for each repair.

    Repeated needs, a task that needs itself, repeated paths and `./` before a path. Anything else has more than one
    possible meaning and is left to `plan_problems`.
    """
    notes: list[str] = []
    tasks: list[Task] = []
    for task in plan.tasks:
        needs = tuple(need for need in dict.fromkeys(task.needs) if need != task.id)
        paths = tuple(dict.fromkeys(path.removeprefix("./") or path for path in task.paths))
        if task.id in task.needs:
            notes.append(f"task {task.id}: it needed itself; that was dropped")
        if len(set(task.needs)) != len(task.needs):
            notes.append(f"task {task.id}: repeated needs were dropped")
        if paths != task.paths:
            notes.append(f"task {task.id}: paths were written shorter: {short(', '.join(paths), 200)}")
        tasks.append(task.model_copy(update={"needs": needs, "paths": paths}))
    return plan.model_copy(update={"tasks": tuple(tasks)}), tuple(notes)


def dump_plan(plan: Plan) -> str:
    """The plan as a YAML file for people: keys in the contract's order, defaults left out."""
    tasks = [_without_defaults(task, _TASK_KEYS) for task in plan.tasks]
    body: dict[str, Any] = {"v": plan.v, "goal": plan.goal}
    if plan.design:
        body["design"] = plan.design
    body["tasks"] = tasks
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _without_defaults(task: Task, keys: tuple[str, ...]) -> dict[str, Any]:
    values = task.model_dump(mode="json")
    fields = Task.model_fields
    return {
        key: values[key] for key in keys if fields[key].is_required() or values[key] not in (fields[key].default, [])
    }


class _Dumper(yaml.SafeDumper):
    """Safe, without anchors, and with text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if not _BREAKS.isdisjoint(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block_text)


def _sentence(problems: list[str]) -> str:
    shown = problems[:_MAX_PROBLEMS]
    rest = len(problems) - len(shown)
    return "; ".join([*shown, f"and {rest} more"] if rest else shown)


# --- reading a tree as a plan -----------------------------------------------------------------------------


class _Reader:
    """A document's tree to a plan, remembering where each key of each task stands."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._places: dict[tuple[int, str], Place] = {}
        self._text = 0

    def locate(self, problem: Problem) -> str:
        """A problem with its place in the file in front."""
        place = str(self._places[problem.number, problem.key])
        return f"{place} (task {problem.task}, {problem.key}): {problem.why}" if place else str(problem)

    def plan(self, root: Node) -> Plan:
        keys = self._keys(root, "the plan", _PLAN_KEYS, ("v", "goal", "tasks"))
        self._version(keys["v"])
        items = self._items(keys["tasks"], "tasks")
        if not items:
            raise self._refused(keys["tasks"].place, "tasks", "there are no tasks")
        if len(items) > MAX_TASKS:
            raise self._refused(keys["tasks"].place, "tasks", f"{len(items)} tasks are more than {MAX_TASKS}")
        tasks = tuple(self._task(item, number) for number, item in enumerate(items))
        fields = {"goal": self._string(keys["goal"], "goal"), "design": self._optional(keys, "design", "design")}
        return self._built(lambda: Plan(tasks=tasks, **_present(fields)), "the plan", keys, root.place)

    def _task(self, node: Node, number: int) -> Task:
        where = _name(node, number)
        keys = self._keys(node, where, _TASK_KEYS, ("id", "title", "paths"))
        for key, value in keys.items():
            self._places[number, key] = value.place
        fields: dict[str, Any] = {
            "id": self._string(keys["id"], f"{where}, id"),
            "title": self._string(keys["title"], f"{where}, title"),
            "paths": self._strings(keys["paths"], f"{where}, paths"),
            "budget_usd": self._number(keys.get("budget_usd"), f"{where}, budget_usd"),
        }
        for key in ("instructions", "agent", "design"):
            fields[key] = self._optional(keys, key, f"{where}, {key}")
        for key in ("needs", "verify", "runs_on"):
            if key in keys and not _is_null(keys[key]):
                fields[key] = self._strings(keys[key], f"{where}, {key}")
        return self._built(lambda: Task(**_present(fields)), where, keys, node.place)

    def _built(self, make: Callable[[], T], where: str, keys: Mapping[str, Node], place: Place) -> T:
        """What `make` makes, with pydantic's complaint (lengths, the id's form) put in the file's terms."""
        try:
            return make()
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            at = keys[key].place if key in keys else place
            reason = complaint(first)
            if key == "id" or (key == "needs" and first["type"] == "string_pattern_mismatch"):
                reason = _ID_RULE
            raise self._refused(at, f"{where}, {key}", reason) from error

    def _refused(self, place: Place, where: str, why: str) -> BadPlan:
        return document.refuse(self._origin, f"{place} ({where})" if place.line else where, why)

    def _keys(self, node: Node, where: str, known: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, Node]:
        if not isinstance(node, document.Mapping):
            raise self._refused(node.place, where, f"a mapping with the keys {', '.join(needed)} belongs here")
        found: dict[str, Node] = {}
        for key, value in node.entries:
            if key.text not in known:
                guess = did_you_mean(key.text, known) or f" (known: {', '.join(known)})"
                raise self._refused(key.place, where, f"unknown key `{short(key.text)}`{guess}")
            found[key.text] = value
        for key_name in needed:
            if key_name not in found:
                raise self._refused(node.place, where, f"the key `{key_name}` is missing")
        return found

    def _version(self, node: Node) -> None:
        if not isinstance(node, Scalar) or node.kind not in ("plain", "number") or node.text != "1":
            raise self._refused(node.place, "v", "only version 1 of the plan format is known: `v: 1`")

    def _items(self, node: Node, where: str) -> tuple[Node, ...]:
        if not isinstance(node, Sequence):
            raise self._refused(node.place, where, "a list belongs here")
        return node.items

    def _strings(self, node: Node, where: str) -> tuple[str, ...]:
        return tuple(self._string(item, where) for item in self._items(node, where))

    def _string(self, node: Node, where: str) -> str:
        if not isinstance(node, Scalar) or node.kind not in ("string", "plain"):
            what = "a list or mapping" if not isinstance(node, Scalar) else f"{node.kind} `{short(node.text)}`"
            raise self._refused(node.place, where, f"text belongs here, not {what}")
        self._text += len(node.text) + 1
        if self._text > MAX_TEXT:
            raise self._refused(node.place, where, f"with its aliases the plan is longer than {MAX_TEXT} characters")
        return node.text

    def _optional(self, keys: Mapping[str, Node], key: str, where: str) -> str | None:
        node = keys.get(key)
        return None if node is None or _is_null(node) else self._string(node, where)

    def _number(self, node: Node | None, where: str) -> float | None:
        if node is None or _is_null(node):
            return None
        if isinstance(node, Scalar) and node.kind in ("plain", "number") and _NUMBER.fullmatch(node.text):
            value = float(node.text)
            if math.isfinite(value):
                return value
        raise self._refused(node.place, where, "a number belongs here")


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and (node.kind == "null" or (node.kind == "plain" and node.text in _NULLS))


def _name(node: Node, number: int) -> str:
    """What to call a task before it is known to be well formed."""
    if isinstance(node, document.Mapping):
        for key, value in node.entries:
            if key.text == "id" and isinstance(value, Scalar) and value.text:
                return f"task {short(value.text)}"
    return f"tasks[{number}]"


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
