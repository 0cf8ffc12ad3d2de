"""The bare loop on the `openai` SDK: no framework, no record, no sandbox. Variant `stream` streams the answers."""

import asyncio
import json
from typing import Any

import measuring
import openai

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "read",
            "description": "Read a text file.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        },
    }
]


async def streamed(client: openai.AsyncOpenAI, messages: list[Any]) -> tuple[Any, list[tuple[str, str, str]]]:
    """(message to send back, calls) of a streamed answer."""
    text, calls = "", {}
    stream = await client.chat.completions.create(model="scripted", messages=messages, tools=TOOLS, stream=True)
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for part in choice.delta.tool_calls or ():
                call = calls.setdefault(part.index, ["", "", ""])
                call[0] += part.id or ""
                if part.function is not None:
                    call[1] += part.function.name or ""
                    call[2] += part.function.arguments or ""
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}
            for call in calls.values()
        ]
    return message, [(call[0], call[1], call[2]) for call in calls.values()]


async def whole(client: openai.AsyncOpenAI, messages: list[Any]) -> tuple[Any, list[tuple[str, str, str]]]:
    """The same of an answer in one piece."""
    answer = await client.chat.completions.create(model="scripted", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return message.to_dict(), calls


async def main() -> None:
    options = measuring.arguments(__doc__)
    client = openai.AsyncOpenAI(base_url=options.url, api_key="none", max_retries=0)
    ask = streamed if options.variant == "stream" else whole

    async def converse(number: int, task: str) -> None:
        messages: list[Any] = [
            {"role": "system", "content": measuring.PROMPT},
            {"role": "user", "content": task},
        ]
        asked = 0
        while True:
            message, calls = await ask(client, messages)
            asked += 1
            messages.append(message)
            if not calls:
                break
            for call, _, arguments in calls:
                text = measuring.read(options.place, json.loads(arguments)["path"])
                messages.append({"role": "tool", "tool_call_id": call, "content": text})
        assert asked == measuring.CALLS

    found = await measuring.spend(options, converse)
    measuring.report(version=measuring.versions("openai"), **found)


asyncio.run(main())
