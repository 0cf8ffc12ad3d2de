"""The adapters against a real server: what they count, whom they send thoughts to, what they ask."""

import subprocess
import sys
from typing import Any

import pytest

from quarterdeck.kernel.config import ModelSection, Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.prices import cost
from quarterdeck.models import anthropic_messages, openai_responses, windows
from quarterdeck.models.factory import make_factory
from quarterdeck.models.port import Message, Opaque, Request, StopReason, Text, ToolOutcome, ToolSpec
from quarterdeck.models.scripted.scenario import Rule, Scenario, Served, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer

NAMES = ("anthropic:claude-sonnet-5", "openai:gpt-5.4", "chat:local", "google:gemini-3.8-flash", "ollama:local")
RUN = ToolSpec(
    name="run", description="Run", parameters={"type": "object", "properties": {"command": {"type": "string"}}}
)
TURNS = tuple(Turn(text=f"Step {n}.", thinking="hm", actions=(act("run", command=f"echo {n}"),)) for n in range(4))
SCENARIO = Scenario(rules=(Rule(turns=TURNS),), models={"local": Served(context=8192)})


def urls(server: ScriptedServer) -> dict[str, str | None]:
    root = server.url
    return {"anthropic": root, "openai": f"{root}/v1", "chat": f"{root}/v1", "google": root, "ollama": f"{root}/v1"}


def user(*blocks: Any) -> Message:
    return Message(role="user", blocks=blocks)


@pytest.mark.parametrize("name", NAMES)
async def test_a_conversation_is_counted_to_the_token(name: str) -> None:
    price = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)
    priced = SCENARIO.model_copy(update={"prices": {name.partition(":")[2]: price}})
    async with ScriptedServer(priced) as server:
        models = make_factory(keys=dict.fromkeys(("anthropic", "openai", "google"), "k"), base_urls=urls(server))
        model = models(name)
        messages = [user(Text(text="Do it. " + "All of this is context. " * 300))]
        counted: list[Usage] = []
        stops = []
        for _ in range(5):
            asked = Request("Be brief.", (RUN,), tuple(messages), 1000, cache_until=len(messages), tag="a1")
            reply = await model.complete(asked)
            counted.append(reply.usage)
            stops.append(reply.stop)
            assert not reply.estimated
            results = [ToolOutcome(id=call.id, text="ok " * 50) for call in reply.message.calls]
            messages += [reply.message, user(*results, Text(text="<reminder>mind the time</reminder>"))]
        await server.served(5)
        assert [asked.step for asked in server.requests] == [0, 1, 2, 3, 4]
        assert stops == [StopReason.TOOLS] * 4 + [StopReason.END]
        assert [asked.usage for asked in server.requests] == counted
        bill = server.billed[name.partition(":")[2], "a1"]
        assert bill.usage == sum(counted, Usage())
        assert bill.nusd == sum(cost(usage, price) for usage in counted)
        if name.startswith("ollama"):
            assert {asked.window for asked in server.requests} == {8192}, "never left at the server's default"
        else:
            assert counted[0].cache_read == 0
            assert all(usage.cache_read >= 1024 for usage in counted[1:])
        if name.startswith("anthropic"):
            assert counted[0].cache_write > 1024
            assert [after.cache_read for after in counted[1:]] == [
                before.cache_read + before.cache_write for before in counted[:-1]
            ], "each request reads exactly what the one before had cached"
        await models.close()


async def test_thinking_goes_back_to_its_vendor_and_to_no_other() -> None:
    async with ScriptedServer(SCENARIO) as server:
        models = make_factory(keys={"anthropic": "k", "openai": "k"}, base_urls=urls(server))
        first = user(Text(text="Do it."))
        for name, vendor in (("anthropic:claude-sonnet-5", "anthropic"), ("openai:gpt-5.4", "openai")):
            reply = await models(name).complete(Request("", (RUN,), (first,), 100))
            opaque = [block for block in reply.message.blocks if isinstance(block, Opaque)]
            assert [block.vendor for block in opaque] == [vendor]
            results = user(*(ToolOutcome(id=call.id, text="ok") for call in reply.message.calls))
            again = Request("", (RUN,), (first, reply.message, results), 100)
            claude = anthropic_messages.body(again, "claude-sonnet-5")["messages"][1]["content"]
            gpt = openai_responses.body(again, "gpt-5.4")["input"]
            assert (opaque[0].data in claude) is (vendor == "anthropic")
            assert (opaque[0].data in gpt) is (vendor == "openai")
        await models.close()


async def test_windows_are_configured_asked_or_known_and_never_guessed() -> None:
    local = Scenario(models={"big": Served(context=131_072), "small": Served(context=4096)})
    async with ScriptedServer(local) as server:
        sections = {"chat:mine": ModelSection(context=5000)}
        models = make_factory(keys={"anthropic": "k", "openai": "k"}, base_urls=urls(server), models=sections)
        assert await models("chat:mine").window() == 5000
        assert await models("chat:big").window() == 131_072
        assert await models("ollama:small").window() == 4096
        assert await models("ollama:big").window() == windows.OLLAMA_CAP
        assert await models("anthropic:claude-sonnet-5").window() == 1_000_000
        with pytest.raises(BadConfiguration) as caught:
            await models("chat:unheard-of").window()
        assert 'models."chat:unheard-of"' in caught.value.fix
        await models.close()


async def test_the_same_name_is_the_same_model_and_connections_are_shared() -> None:
    models = make_factory(keys={"anthropic": "k"}, base_urls={"anthropic": "http://127.0.0.1:1"})
    one, two = models("anthropic:a"), models("anthropic:b")
    assert models("anthropic:a") is one
    assert one is not two
    assert len(models._connections) == 1
    await models.close()
    await models.close()


def test_no_http_client_is_loaded_before_a_model_is_made() -> None:
    code = (
        "import sys, quarterdeck.models.factory, quarterdeck.models.retry, quarterdeck.models.scripted.server;"
        "assert not {'httpx2', 'httptools', 'quarterdeck.models.http.client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
