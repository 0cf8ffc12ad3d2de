"""pydantic-ai: an agent with one plain tool, in memory, without a sandbox."""

import asyncio

import measuring
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


async def main() -> None:
    options = measuring.arguments(__doc__)
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=options.url, api_key="none"))
    agent = Agent(model, instructions=measuring.PROMPT)

    @agent.tool_plain
    def read(path: str) -> str:
        """Read a text file."""
        return measuring.read(options.place, path)

    async def converse(number: int, task: str) -> None:
        answer = await agent.run(task)
        measuring.check(answer.output)

    found = await measuring.spend(options, converse)
    measuring.report(version=measuring.versions("pydantic-ai-slim"), **found)


asyncio.run(main())
