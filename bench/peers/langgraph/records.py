"""LangGraph: one superstep a record, of threads that run at the same time, with the SQLite saver and sync durability,
or with the PostgreSQL saver over the database at `--url` and a pool of connections.

The state holds the last record alone: a state that grows with the conversation is written whole at every step and
costs more. Variant `transcript` keeps all records, as an agent's messages are kept. The saver sets a write-ahead log;
SQLite's own default waits for the disk at each commit.

Counted is from within the first superstep to within the one after the last record: by then the last record is on disk.
Starting a graph, its input's checkpoint and ending it do not count.
"""

import asyncio
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import measuring
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

OPTIONS = measuring.arguments(__doc__)
COUNTED = measuring.Counted(OPTIONS.agents)
WARM_UP = OPTIONS.records + 1
"""Where the first thread begins: one superstep, which is not counted."""


class Last(TypedDict):
    record: str
    steps: int


class Transcript(TypedDict):
    record: Annotated[list[str], operator.add]
    steps: int


@asynccontextmanager
async def saving() -> AsyncIterator[Any]:
    """The saver, and what it is called."""
    if not OPTIONS.url:
        async with AsyncSqliteSaver.from_conn_string(str(OPTIONS.place / "langgraph.db")) as saver:
            yield saver
        return
    how = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(OPTIONS.url, min_size=4, max_size=20, kwargs=how) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


async def main() -> None:
    whole = OPTIONS.variant == "transcript"

    async def step(state: Last) -> dict[str, object]:
        if state["steps"] == 0:
            await COUNTED.begin()
        elif state["steps"] == OPTIONS.records:
            await COUNTED.end()
        return {"record": [measuring.RECORD] if whole else measuring.RECORD, "steps": state["steps"] + 1}

    graph = StateGraph(Transcript if whole else Last)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: END if state["steps"] > OPTIONS.records else "step")
    async with saving() as saver:
        compiled = graph.compile(checkpointer=saver)

        async def agent(name: str, steps: int) -> None:
            config = {"configurable": {"thread_id": name}, "recursion_limit": OPTIONS.records + 5}
            begun = {"record": [] if whole else "", "steps": steps}
            await compiled.ainvoke(begun, config, durability="sync")

        await agent("warm-up", WARM_UP)
        await asyncio.gather(*(agent(f"agent-{number}", 0) for number in range(OPTIONS.agents)))
    found = COUNTED.result(OPTIONS.agents * OPTIONS.records)
    kind = "postgres" if OPTIONS.url else "sqlite"
    measuring.report(version=measuring.versions("langgraph", f"langgraph-checkpoint-{kind}"), **found)


asyncio.run(main())
