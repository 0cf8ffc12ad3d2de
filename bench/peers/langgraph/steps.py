"""LangGraph's prebuilt agent with one tool, without a checkpointer and without a sandbox."""

import asyncio
import warnings

import measuring
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent


async def main() -> None:
    options = measuring.arguments(__doc__)
    warnings.simplefilter("ignore")  # the prebuilt agent has moved to another package, which wraps this one

    @tool
    def read(path: str) -> str:
        """Read a text file."""
        return measuring.read(options.place, path)

    model = ChatOpenAI(model="scripted", base_url=options.url, api_key="none", use_responses_api=False)
    agent = create_react_agent(model, [read], prompt=measuring.PROMPT)

    async def converse(number: int, task: str) -> None:
        answer = await agent.ainvoke({"messages": [("user", task)]}, {"recursion_limit": 100})
        measuring.check(answer["messages"][-1].text)

    found = await measuring.spend(options, converse)
    measuring.report(version=measuring.versions("langgraph"), **found)


asyncio.run(main())
