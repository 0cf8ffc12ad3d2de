"""From events to the read tables. The mapping is pure; applying it happens in the transaction of the append.

Rules
- `project` answers what one event changes, as values; `changes` writes them. What a stream changes is said in one
  place: `run_rows`, `attempt_rows`, `gate_rows`, and here for what comes from outside and for packs.
- A tool event changes nothing but its stream's head, which holds the sign of life.
- Every event of a stream may come once only; `rebuild` starts from empty tables, in the order of the commits.
"""

import json
from typing import Final

from quarterdeck.journal import attempt_rows, gate_rows, run_rows
from quarterdeck.journal.changes import Changes, Op, Set, Spend
from quarterdeck.journal.run_rows import Plans
from quarterdeck.kernel import events as ev
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import outside, packs
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Store, Tx

REBUILD_PAGE: Final = 1000

_SILENT: Final[frozenset[type[ev.EventBase]]] = frozenset(
    {
        *(ev.ToolIntended, ev.ToolDone, ev.ModelAsked, ev.TranscriptExtended),
        *(ev.AgentSaid, ev.AgentActing, ev.AgentActed, ev.PermissionDecided),
    }
)
"""The frequent events that no read table shows."""

_TABLES: Final = (
    *("runs", "tasks", "attempts", "costs", "waits", "notes", "notices", "firings", "origins"),
    *("spending", "burn", "landings", "incidents", "approvals"),
    *("packs", "snapshots", "touches", "intents"),
)

_NOTHING: Final[list[Op]] = []


def project(stream: str, at: float, event: ev.EventBase, plans: Plans) -> list[Op]:
    """What `event`, appended to `stream` at `at`, changes in the read tables."""
    if type(event) in _SILENT:
        return _NOTHING
    if isinstance(event, packs.PackEvent):
        return [kept(at, event)]
    where, _, name = stream.partition("/")
    if where == "attempt":
        return attempt_rows.changed(name, at, event)
    if where == "run":
        return run_rows.changed(name, at, event, plans)
    if where == "approval" and isinstance(event, ev.ApprovalDecided):
        return attempt_rows.decided(at, event)
    if where == "gate":
        return gate_rows.changed(name, at, event)
    if where == "key" and isinstance(event, ev.ModelAnswered | ev.ModelErred):
        return [Spend("", at, event.model, event.usage, event.cost_nusd, event.estimated)]
    return _trigger(at, event) if where == "trigger" else _NOTHING


# --- trigger/… --------------------------------------------------------------------------------------------


def _trigger(at: float, event: ev.EventBase) -> list[Op]:
    match event:
        case outside.TriggerFired():
            return [_firing(at, event, "fired", event.run, order_blob=event.order_blob)]
        case outside.TriggerHeld():
            return [_firing(at, event, "held", reason=event.reason, till=event.until)]
        case outside.TriggerRefused():
            return [_firing(at, event, "refused", code=event.code, reason=event.reason)]
        case outside.TriggerOrdered():
            return [Set("project_firing_ordered", {"trigger": event.trigger, "delivery": event.delivery})]
        case _:
            return []


def _firing(
    at: float,
    event: outside.TriggerFired | outside.TriggerHeld | outside.TriggerRefused,
    status: str,
    run: str = "",
    *,
    code: str = "",
    reason: str = "",
    order_blob: str = "",
    till: float = 0.0,
) -> Op:
    about = {"trigger": event.trigger, "fingerprint": event.fingerprint, "subject": event.subject, "at": at}
    outcome = {"status": status, "run": run, "code": code, "reason": reason, "order_blob": order_blob, "till": till}
    return Set("project_firing", {**about, "delivery": event.delivery, **outcome})


# --- packs ------------------------------------------------------------------------------------------------


def kept(at: float, event: packs.PackEvent) -> Set:
    """What leads to a commit from now on, or what a workspace held."""
    if isinstance(event, packs.WorkspaceKept):
        what = {"base": event.base, "commit": event.commit, "tree": event.tree, "blob": event.pack_blob or ""}
        return Set("project_snapshot", {"workspace": event.workspace, **what, "at": at})
    values = {"commit": event.commit, "onto": json.dumps(event.onto), "blob": event.pack_blob}
    return Set("project_pack", {**values, "bytes": event.pack_bytes, "at": at})


# --- all of them anew -------------------------------------------------------------------------------------


def plans_of(tx: Tx) -> Plans:
    """Plans read inside a transaction."""

    def plan(digest: str) -> Plan:
        rows = tx.run("blob_get", digest=bytes.fromhex(digest))
        if not rows:
            raise ValueError(f"the plan {digest} is not stored")
        return Plan.model_validate_json(unpack(rows[0]["codec"], rows[0]["body"]))

    return plan


async def rebuild(store: Store) -> int:
    """Recompute all read tables from the journal, in one transaction. Returns the number of events."""
    return await store.write(_rebuild)


def _rebuild(tx: Tx) -> int:
    for table in _TABLES:
        tx.run(f"project_clear_{table}")
    plans, count, after = plans_of(tx), 0, 0
    while rows := tx.run("events_all", prefix="", after=after, limit=REBUILD_PAGE):
        changes = Changes()
        for row in rows:
            changes.add(project(row["stream"], row["at"], ev.decode(row["body"]), plans))
        changes.apply(tx)
        after, count = rows[-1]["id"], count + len(rows)
    return count
