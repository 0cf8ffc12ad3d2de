"""openai-agents: an agent with one function tool over Chat Completions, in memory, no sandbox; tracing is off."""

import asyncio

import measuring
import openai
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled


async def main() -> None:
    options = measuring.arguments(__doc__)
    set_tracing_disabled(True)

    @function_tool
    def read(path: str) -> str:
        """Read a text file."""
        return measuring.read(options.place, path)

    client = openai.AsyncOpenAI(base_url=options.url, api_key="none")
    model = OpenAIChatCompletionsModel(model="scripted", openai_client=client)
    agent = Agent(name="reader", instructions=measuring.PROMPT, model=model, tools=[read])

    async def converse(number: int, task: str) -> None:
        answer = await Runner.run(agent, task, max_turns=20)
        measuring.check(str(answer.final_output))

    found = await measuring.spend(options, converse)
    measuring.report(version=measuring.versions("openai-agents"), **found)


asyncio.run(main())
