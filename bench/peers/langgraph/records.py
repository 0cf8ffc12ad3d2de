"""LangGraph: one superstep a record, of threads that run at the same time, with the SQLite saver and sync durability.

The state holds the last record alone: a state that grows with the conversation is written whole at every step and
costs more. Variant `transcript` keeps all records, as an agent's messages are kept. The saver sets a write-ahead log;
SQLite's own default waits for the disk at each commit.
"""

import asyncio
import operator
from typing import Annotated, TypedDict

import measuring
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

OPTIONS = measuring.arguments(__doc__)
COUNTED = measuring.Counted(OPTIONS.agents)


class Last(TypedDict):
    record: str
    steps: int


class Transcript(TypedDict):
    record: Annotated[list[str], operator.add]
    steps: int


async def main() -> None:
    whole = OPTIONS.variant == "transcript"

    async def step(state: Last) -> dict[str, object]:
        return {"record": [measuring.RECORD] if whole else measuring.RECORD, "steps": state["steps"] + 1}

    graph = StateGraph(Transcript if whole else Last)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: END if state["steps"] >= OPTIONS.records else "step")
    async with AsyncSqliteSaver.from_conn_string(str(OPTIONS.place / "langgraph.db")) as saver:
        compiled = graph.compile(checkpointer=saver)

        async def agent(name: str, steps: int) -> None:
            config = {"configurable": {"thread_id": name}, "recursion_limit": OPTIONS.records + 5}
            begun = {"record": [] if whole else "", "steps": steps}
            await compiled.ainvoke(begun, config, durability="sync")

        async def counted(number: int) -> None:
            await COUNTED.begin()
            await agent(f"agent-{number}", 0)
            await COUNTED.end()

        await agent("warm-up", OPTIONS.records - 1)
        await asyncio.gather(*(counted(number) for number in range(OPTIONS.agents)))
    found = COUNTED.result(OPTIONS.agents * OPTIONS.records)
    measuring.report(version=measuring.versions("langgraph-checkpoint-sqlite"), **found)


asyncio.run(main())
