"""Events by property: what is written is read back, chains show tampering, folds go on where they stopped."""

import enum
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from quarterdeck.journal.changes import Set
from quarterdeck.journal.projections import project
from quarterdeck.journal.proof import GENESIS, Walk, chain
from quarterdeck.kernel import attempts, folding, ids, states
from quarterdeck.kernel import events as ev
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.events import MAX_EVENT_BYTES, EventBase, decode, encode, outside

KINDS: tuple[type[EventBase], ...] = get_args(get_args(ev.Event)[0])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def values(annotation: Any, field: FieldInfo | None = None) -> st.SearchStrategy[Any]:
    """Everything that a field of that type may hold."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return values(get_args(annotation)[0], field)
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(option, field) for option in get_args(annotation)))
    if origin is tuple:
        return st.lists(values(get_args(annotation)[0]), max_size=3).map(tuple)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return built(annotation)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        bool: st.booleans(),
        int: INTEGERS,
        float: FLOATS,
        type(None): st.none(),
    }
    return plain[annotation]


def built(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = model.model_fields
    needed = {name: values(field.annotation, field) for name, field in fields.items() if field.is_required()}
    chosen = {name: values(field.annotation, field) for name, field in fields.items() if not field.is_required()}
    return st.fixed_dictionaries(needed, optional=chosen).map(lambda given: model(**given))


def event() -> st.SearchStrategy[EventBase]:
    return st.sampled_from(KINDS).flatmap(built)


# --- writing and reading ----------------------------------------------------------------------------------


def test_every_event_is_one_that_can_be_read() -> None:
    named = [
        kind
        for module in (ev, outside)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, EventBase)
    ]
    assert {*named} - {EventBase} == {*KINDS}
    spelled = [kind.model_fields["kind"].default for kind in KINDS]
    assert len(set(spelled)) == len(spelled)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_an_event_is_read_back_as_it_was_written(kind: type[EventBase], data: st.DataObject) -> None:
    written = data.draw(built(kind))
    stored = encode(written)
    assert decode(stored) == written
    assert type(decode(stored)) is kind
    assert encode(decode(stored)) == stored
    assert len(stored) < MAX_EVENT_BYTES


@given(event(), st.data())
def test_what_is_no_event_is_refused_and_nothing_else_happens(written: EventBase, data: st.DataObject) -> None:
    stored = bytearray(encode(written))
    for _ in range(data.draw(st.integers(1, 3))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(stored))
    except ValidationError:
        return
    assert decode(encode(found)) == found


@given(event(), TEXT)
def test_an_unknown_key_is_refused(written: EventBase, key: str) -> None:
    fields = written.model_dump(mode="json")
    if key not in fields:
        with pytest.raises(ValidationError):
            type(written).model_validate({**fields, key: 1})


# --- the chain --------------------------------------------------------------------------------------------

BODIES = st.lists(st.binary(max_size=8), min_size=1, max_size=8)
Rows = list[dict[str, Any]]


def stream(bodies: list[bytes]) -> Rows:
    rows: Rows = []
    previous = GENESIS
    for seq, body in enumerate(bodies, 1):
        previous = chain(previous, "run/r", seq, seq / 2, 1, body)
        rows.append({"id": seq, "prev": seq - 1, "seq": seq, "at": seq / 2, "epoch": 1, "body": body, "hash": previous})
    return rows


def faults(rows: Rows, head: dict[str, Any], anchor: tuple[int, str] | None = None) -> list[int]:
    walk = Walk("run/r", head["seq"], anchor)
    for row in rows:
        walk.step(row)
    walk.end(head)
    return [fault.seq for fault in walk.faults]


@given(BODIES)
def test_an_untouched_chain_holds(bodies: list[bytes]) -> None:
    rows = stream(bodies)
    assert faults(rows, rows[-1]) == []
    assert faults(rows, rows[-1], (len(rows), rows[-1]["hash"].hex())) == []


TAMPERINGS: dict[str, Callable[[Rows, int], None]] = {
    "the body": lambda rows, at: rows[at].update(body=rows[at]["body"] + b"!"),
    "the time": lambda rows, at: rows[at].update(at=rows[at]["at"] + 1),
    "the claim": lambda rows, at: rows[at].update(epoch=2),
    "the hash": lambda rows, at: rows[at].update(hash=bytes(32)),
    "the type of a value": lambda rows, at: rows[at].update(at="noon"),
    "it was removed": lambda rows, at: rows.__delitem__(at),
}


@pytest.mark.parametrize("what", TAMPERINGS)
@settings(max_examples=25)
@given(bodies=BODIES, data=st.data())
def test_tampering_with_any_record_is_found_at_the_latest_behind_it(
    what: str, bodies: list[bytes], data: st.DataObject
) -> None:
    rows = stream(bodies)
    head = dict(rows[-1])
    at = data.draw(st.integers(0, len(rows) - 1))
    TAMPERINGS[what](rows, at)
    (found,) = faults(rows, head)
    assert found in (at + 1, at + 2)


@given(BODIES, BODIES)
def test_a_chain_that_was_written_anew_does_not_match_its_anchor(bodies: list[bytes], others: list[bytes]) -> None:
    rows, forged = stream(bodies), stream(others)
    anchor = (len(rows), rows[-1]["hash"].hex())
    assert (faults(forged, forged[-1], anchor) == []) == (bodies == others[: len(bodies)])


# --- folds and projections --------------------------------------------------------------------------------

TASKS = ("a", "b")
PLAN = Plan(goal="g", tasks=tuple(Task(id=name, title=name, paths=("*",)) for name in TASKS))
RUN_KINDS = [kind for kind in KINDS if kind.model_fields["kind"].default.startswith(("run.", "task.", "node."))]
ATTEMPT_KINDS = [
    kind
    for kind in KINDS
    if kind.model_fields["kind"].default.startswith(("attempt.", "harness.", "change.exported", "check.", "node."))
]


def about(kinds: list[type[EventBase]]) -> st.SearchStrategy[list[EventBase]]:
    """Events in any order, sense or nonsense, of a run with two tasks."""

    def named(found: EventBase, name: str) -> EventBase:
        task = {"task": name} if isinstance(getattr(found, "task", None), str) else {}
        attempt = {"attempt": f"r.{name}.1"} if isinstance(getattr(found, "attempt", None), str) else {}
        return found.model_copy(update={**task, **attempt})

    one = st.builds(named, st.sampled_from(kinds).flatmap(built), st.sampled_from(TASKS))
    return st.lists(one, max_size=12)


@settings(max_examples=20)
@given(about(RUN_KINDS), st.data())
def test_a_run_is_the_same_folded_at_once_or_taken_up_anywhere(happened: list[EventBase], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(happened)))
    state = folding.fold(happened[:at])
    for later in happened[at:]:
        folding.apply(state, decode(encode(later)))
    assert state == folding.fold(happened)
    assert state.active >= 0


@settings(max_examples=20)
@given(about(RUN_KINDS))
def test_what_is_merged_stays_merged(happened: list[EventBase]) -> None:
    state = states.RunState()
    merged: dict[str, str] = {}
    for found in happened:
        if (
            isinstance(found, ev.TaskFailed | ev.TaskBlocked | ev.TaskCancelled | ev.TaskDispatched | ev.TaskEscalated)
            and found.task in merged
        ):
            continue  # dispatch never decides this about a merged task
        if isinstance(found, ev.NodeStarted | ev.NodeFinished) and found.task in merged:
            continue
        folding.apply(state, found)
        if isinstance(found, ev.TaskMerged):
            merged[found.task] = found.commit
        for task, commit in merged.items():
            assert state.tasks[task].status is ev.TaskStatus.MERGED
            assert state.tasks[task].commit == commit


@settings(max_examples=20)
@given(about(ATTEMPT_KINDS), st.data())
def test_an_attempt_is_the_same_folded_at_once_or_taken_up_anywhere(
    happened: list[EventBase], data: st.DataObject
) -> None:
    whole, parted = attempts.AttemptState(), attempts.AttemptState()
    for number, found in enumerate(happened):
        attempts.apply_attempt(whole, found, float(number))
    at = data.draw(st.integers(0, len(happened)))
    for number, found in enumerate([*happened[:at], *map(decode, map(encode, happened[at:]))]):
        attempts.apply_attempt(parted, found, float(number))
    assert whole == parted


@settings(max_examples=40)
@given(event(), st.sampled_from([ids.run_stream("r"), ids.attempt_stream("r.a.1"), "gate/x", "deck"]))
def test_a_projection_is_a_function_of_the_event_alone(found: EventBase, where: str) -> None:
    once = project(where, 1.0, found, lambda _digest: PLAN)
    assert project(where, 1.0, decode(encode(found)), lambda _digest: PLAN) == once
    if not where.startswith(("run/", "attempt/", "gate/")):
        packs = ("project_pack", "project_snapshot")
        kept = [one for one in once if isinstance(one, Set) and one.statement in packs]
        assert once == kept, "a pack may be kept by anybody; nothing else is anybody's"
