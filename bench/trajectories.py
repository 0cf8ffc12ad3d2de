"""Public agent trajectories as plain turns. Pure, but for `load`.

Rules
- What is read: SWE-agent `.traj` files (their `history`) and tau-bench's lists of runs (their `traj`).
- An answer that calls a tool keeps its calls. One that carries SWE-agent's `action` is a call of `act`; one that only
  speaks is a call of `respond`, and what the person says to it is its result.
- The last answer, to which nothing came back, is left out: the replay ends there with its handoff.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call and what came back."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model."""

    text: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One recorded conversation."""

    name: str
    system: str
    task: str
    """What the person said before the first answer."""
    turns: tuple[Turn, ...]

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools that were used, sorted."""
        return tuple(sorted({call.name for turn in self.turns for call in turn.calls}))


def load(folder: Path) -> dict[str, list[Trajectory]]:
    """The trajectories below `folder`, by family; a family without data is not there."""
    swe = [
        parse(path.stem, json.loads(path.read_text(encoding="utf-8"))["history"])
        for path in sorted((folder / "swe-agent").rglob("*.traj"))
    ]
    tau = [
        parse(f"{path.stem}-{number}", run["traj"])
        for path in sorted((folder / "tau-bench").rglob("*airline*.json"))
        for number, run in enumerate(json.loads(path.read_text(encoding="utf-8")))
    ]
    found = {"SWE-agent demonstrations": swe, "tau-bench airline": tau}
    return {family: [one for one in many if one.turns] for family, many in found.items() if many}


def parse(name: str, messages: Sequence[Mapping[str, Any]]) -> Trajectory:
    """The trajectory in a list of chat messages."""
    said: dict[str, list[str]] = {"system": [], "user": []}
    at = 0
    while at < len(messages) and messages[at]["role"] in said:
        said[messages[at]["role"]].append(_text(messages[at]))
        at += 1
    return Trajectory(name, "\n\n".join(said["system"]), "\n\n".join(said["user"]), tuple(_turns(messages[at:])))


def in_a_row(trajectories: Sequence[Trajectory]) -> Trajectory:
    """One long conversation of these: the first one's system prompt, and each later task right after what came back
    last."""
    turns: list[Turn] = []
    for trajectory in trajectories:
        if turns:
            *calls, last = turns[-1].calls
            said = Call(last.name, last.arguments, f"{last.result}\n\n{trajectory.task}")
            turns[-1] = Turn(turns[-1].text, (*calls, said))
        turns += trajectory.turns
    return Trajectory("in a row", trajectories[0].system, trajectories[0].task, tuple(turns))


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        answers = []
        for after in messages[number + 1 :]:
            if after["role"] == "assistant":
                break
            answers.append(_text(after))
        if answers:
            yield _turn(message, answers)


def _turn(message: Mapping[str, Any], answers: Sequence[str]) -> Turn:
    text, asked = _text(message), message.get("tool_calls") or ()
    if asked:
        results = [*answers[: len(asked) - 1], "\n".join(answers[len(asked) - 1 :])]
        results += [""] * (len(asked) - len(results))
        calls = tuple(
            Call(call["function"]["name"], _arguments(call["function"]["arguments"]), result)
            for call, result in zip(asked, results, strict=True)
        )
        return Turn(text, calls)
    result = "\n".join(answers)
    if action := message.get("action"):
        return Turn(str(message.get("thought") or ""), (Call("act", {"command": str(action)}, result),))
    return Turn("", (Call("respond", {"content": text}, result),))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


def _arguments(text: str | Mapping[str, Any]) -> dict[str, Any]:
    """What is no JSON object is kept as text."""
    if isinstance(text, Mapping):
        return dict(text)
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"text": text}
