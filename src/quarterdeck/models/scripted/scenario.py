"""A scenario as data: which turn comes next. Pure.

Rules
- The first rule whose patterns all match decides; no rule means the conversation ends at once.
- The step of the conversation picks the turn; after the last turn the model says that it is done.
- Actions are abstract (`write`, `run`, `submit`, ...); the tools that the client offers decide their form.
- In files, an action is one key and its arguments: `write: {path: a.py, content: "x"}`, `run: pytest -q`.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.failures import BadInput
from quarterdeck.models.scripted import heard as listening
from quarterdeck.models.scripted.faults import Fault
from quarterdeck.models.scripted.heard import Heard

SHORT: Final = {
    "run": "command",
    "read": "path",
    "search": "pattern",
    "note": "text",
    "ask": "question",
    "todo": "items",
}
"""The argument that an action means when it is given a bare value."""

DOES: Final = ("write", "read", "edit", "run", "search", "todo", "note", "submit", "ask", "delegate", "tool")


class Action(Value):
    """Something the scripted model does; `tool` names a tool itself (`name`, `args`)."""

    do: str
    args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) == 1 and "do" not in value:
            ((do, args),) = value.items()
            if not isinstance(args, dict):
                args = {SHORT.get(do, "value"): args}
            return {"do": do, "args": args}
        return value

    @field_validator("do")
    @classmethod
    def _known(cls, do: str) -> str:
        if do not in DOES:
            raise ValueError(f"an action is one of {', '.join(DOES)}")
        return do


def act(do: str, **args: Any) -> Action:
    """An action in Python: `act("write", path="a.py", content="x")`."""
    return Action(do=do, args=args)


class Turn(Value):
    """What the model says and does at one step."""

    text: str = ""
    thinking: str = ""
    actions: tuple[Action, ...] = ()
    faults: tuple[Fault, ...] = ()


class Match(Value):
    """Regular expressions, searched for; an empty one matches everything."""

    system: str = ""
    first: str = ""
    """The first user message."""
    said: str = ""
    """Any user message that is no tool result: clients begin with context of their own, and go on with nudges."""
    prompt: str = ""
    """The last plain prompt."""
    last: str = ""
    """The last user message, tool results included."""
    model: str = ""

    @field_validator("system", "first", "said", "prompt", "last", "model")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    def fits(self, request: Heard) -> bool:
        pairs = (
            (self.system, request.system),
            (self.first, listening.first_prompt(request)),
            (self.said, listening.prompts(request)),
            (self.prompt, listening.prompt(request)),
            (self.last, listening.last_message(request)),
            (self.model, request.model),
        )
        return all(not pattern or re.search(pattern, text) is not None for pattern, text in pairs)


class Rule(Value):
    """One conversation."""

    name: str = ""
    match: Match = Match()
    turns: tuple[Turn, ...] = ()
    faults: tuple[Fault, ...] = ()
    repeat: bool = False
    """Say the last turn again and again instead of ending."""


class Latency(Value):
    """Seconds."""

    first_byte: float = Field(default=0.0, ge=0)
    per_token: float = Field(default=0.0, ge=0)


class Served(Value):
    """A model that the server lists, as a local server would."""

    context: int = Field(default=200_000, ge=16)
    """The context window the model can have, in tokens."""


class Scenario(Value):
    """Everything the scripted model does under one URL path."""

    v: int = 1
    name: str = "default"
    rules: tuple[Rule, ...] = ()
    faults: tuple[Fault, ...] = ()
    latency: Latency = Latency()
    cache: bool = True
    """Simulate prompt caching."""
    chars_per_token: int = Field(default=4, ge=1)
    window: int = Field(default=1_000_000, ge=16)
    """Tokens; a longer prompt is refused as the provider would."""
    key: str | None = None
    """The only key that is accepted; None = any."""
    models: dict[str, Served] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    """USD per million tokens by model; what is not here is taken from the list prices."""
    done: str = "Done."
    """What is said after the last turn."""


class Chosen(Value):
    """The turn that a request gets."""

    rule: str
    step: int
    turn: Turn
    faults: tuple[Fault, ...]
    """In order of precedence: the turn's, the rule's, the scenario's."""


def choose(scenario: Scenario, request: Heard) -> Chosen:
    """The turn that comes next. The same request always gets the same turn.

    A request that offers no tools is beside the work (a client asks for a title): what needs tools is not for it."""
    at = listening.step(request)
    for index, rule in enumerate(scenario.rules):
        if rule.match.fits(request):
            turn = Turn(text=scenario.done)
            if at < len(rule.turns):
                turn = rule.turns[at]
            elif rule.repeat and rule.turns:
                turn = rule.turns[-1]
            if turn.actions and not request.tools:
                return Chosen(rule="", step=at, turn=Turn(text=scenario.done), faults=())
            faults = turn.faults + rule.faults + scenario.faults
            return Chosen(rule=rule.name or f"#{index}", step=at, turn=turn, faults=_at(faults, at))
    return Chosen(rule="", step=at, turn=Turn(text=scenario.done), faults=_at(scenario.faults, at))


def window(scenario: Scenario, model: str) -> int:
    """The context window of `model`, in tokens."""
    served = scenario.models.get(model)
    return served.context if served is not None else scenario.window


def _at(faults: tuple[Fault, ...], step: int) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if fault.step is None or fault.step == step)


def load(path: Path) -> Scenario:
    """The scenario in a YAML or JSON file. Raises BadInput."""
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        return Scenario.model_validate(data)
    except OSError as error:
        raise BadInput(f"{path} cannot be read", why=str(error)) from error
    except (ValueError, yaml.YAMLError, ValidationError) as error:
        raise BadInput(f"{path} is not a scenario", why=str(error)) from error
