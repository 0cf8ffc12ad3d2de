"""Microsoft's agent-framework: an agent with one function tool, in memory, without a sandbox."""

import asyncio
from typing import Annotated

import measuring
from agent_framework import Agent
from agent_framework_openai import OpenAIChatCompletionClient


async def main() -> None:
    options = measuring.arguments(__doc__)

    def read(path: Annotated[str, "The file's path."]) -> str:
        """Read a text file."""
        return measuring.read(options.place, path)

    client = OpenAIChatCompletionClient(model="scripted", api_key="none", base_url=options.url)
    agent = Agent(client=client, instructions=measuring.PROMPT, tools=[read])

    async def converse(number: int, task: str) -> None:
        answer = await agent.run(task)
        measuring.check(answer.text)

    found = await measuring.spend(options, converse)
    measuring.report(version=measuring.versions("agent-framework-core"), **found)


asyncio.run(main())
