"""What the adapters count is what the provider charges, cached or not; what they send is what each format wants."""

import subprocess
import sys
from typing import Any

import pytest

from quarterdeck.kernel.config import ModelSection, Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import BadConfiguration, FailureClass
from quarterdeck.kernel.prices import LIST, cost
from quarterdeck.models import anthropic_messages, errors, openai_chat, openai_responses, windows
from quarterdeck.models.errors import WireError
from quarterdeck.models.factory import make_factory
from quarterdeck.models.port import Message, Opaque, Request, StopReason, Text, ToolCall, ToolOutcome, ToolSpec
from quarterdeck.models.scripted.scenario import Rule, Scenario, Served, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer

NAMES = ("anthropic:claude-sonnet-5", "openai:gpt-5.4", "chat:local", "ollama:local")
RUN = ToolSpec(
    name="run", description="Run", parameters={"type": "object", "properties": {"command": {"type": "string"}}}
)
TURNS = tuple(Turn(text=f"Step {n}.", thinking="hm", actions=(act("run", command=f"echo {n}"),)) for n in range(4))
SCENARIO = Scenario(rules=(Rule(turns=TURNS),), models={"local": Served(context=8192)})


def urls(server: ScriptedServer) -> dict[str, str | None]:
    root = server.url
    return {"anthropic": root, "openai": f"{root}/v1", "chat": f"{root}/v1", "ollama": f"{root}/v1"}


def user(*blocks: Any) -> Message:
    return Message(role="user", blocks=blocks)


@pytest.mark.parametrize("name", NAMES)
async def test_a_conversation_is_counted_to_the_token(name: str) -> None:
    price = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)
    priced = SCENARIO.model_copy(update={"prices": {name.partition(":")[2]: price}})
    async with ScriptedServer(priced) as server:
        models = make_factory(keys={"anthropic": "k", "openai": "k"}, base_urls=urls(server))
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


def test_there_are_at_most_four_breakpoints_and_none_on_thinking() -> None:
    thought = Opaque(vendor="anthropic", data={"type": "thinking", "thinking": "x", "signature": "s"})
    turn = Message(role="assistant", blocks=(ToolCall(id="1", name="run", arguments={}), thought))
    messages = (user(Text(text="a")), turn, user(ToolOutcome(id="1", text="b")), turn)
    for until in range(6):
        body = anthropic_messages.body(Request("s", (RUN,), messages, 10, cache_until=until), "m")
        blocks = [block for message in body["messages"] for block in message["content"]]
        marked = [block for block in [*body["system"], *body["tools"], *blocks] if "cache_control" in block]
        assert len(marked) == 2 + min(2, until)
        assert not [block for block in marked if block.get("type") == "thinking"]


def test_chat_endpoints_are_asked_in_their_own_words() -> None:
    asked = Request("s", (RUN,), (user(ToolOutcome(id="1", text="no", error=True), Text(text="go on")),), 77, tag="t")
    hosted, own = (openai_chat.body(asked, "m", hosted=hosted) for hosted in (True, False))
    assert hosted["max_completion_tokens"] == own["max_tokens"] == 77
    assert "max_tokens" not in hosted
    assert "prompt_cache_key" not in own
    assert own["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in own["messages"]] == ["system", "tool", "user"]


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


def test_what_is_missing_is_named() -> None:
    models = make_factory(keys={}, models={"chat:x": ModelSection(api_key_env="MY_KEY", base_url="http://h/v1")})
    for name, word in (
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("openai:gpt", "OPENAI_API_KEY"),
        ("chat:x", "MY_KEY"),
        ("chat:y", "OPENAI_BASE_URL"),
        ("acme:z", "tiers"),
        ("nonsense", "tiers"),
    ):
        with pytest.raises(BadConfiguration) as caught:
            models(name)
        assert word in caught.value.fix


async def test_the_same_name_is_the_same_model_and_connections_are_shared() -> None:
    models = make_factory(keys={"anthropic": "k"}, base_urls={"anthropic": "http://127.0.0.1:1"})
    one, two = models("anthropic:a"), models("anthropic:b")
    assert models("anthropic:a") is one
    assert one is not two
    assert len(models._connections) == 1
    await models.close()
    await models.close()


def test_no_sdk_is_loaded_before_a_model_is_made() -> None:
    code = (
        "import sys, quarterdeck.models.factory, quarterdeck.models.retry, quarterdeck.models.scripted.server;"
        "assert not {'anthropic', 'openai', 'httpx2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WireError(429, "rate_limit_error", message="slow"), FailureClass.TRANSIENT),
        (WireError(429, "insufficient_quota"), FailureClass.QUOTA),
        (WireError(400, "invalid_request_error", message="Your credit balance is too low"), FailureClass.QUOTA),
        (WireError(400, "invalid_request_error", message="prompt is too long: 9 tokens"), FailureClass.CONTEXT),
        (WireError(400, "invalid_request_error", message="tools.0: no name"), FailureClass.BUG),
        (WireError(404, "not_found_error", message="no such model"), FailureClass.REFUSED),
        (WireError(None, "overloaded_error"), FailureClass.TRANSIENT),
        (WireError(None, "", message="whatever"), FailureClass.TRANSIENT),
        (WireError(403, message="<html>"), FailureClass.AUTH),
        (WireError(502, message="<html>context window</html>"), FailureClass.TRANSIENT),
    ],
)
def test_the_class_of_an_error(error: WireError, kind: FailureClass) -> None:
    assert errors.classify(error) is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 50.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert errors.retry_after(headers, now=10.0) == seconds


def test_listed_prices_make_sense() -> None:
    for name, price in LIST.items():
        assert name.partition(":")[0] in ("anthropic", "openai")
        assert 0 < price.input < price.output
        assert price.cache_read is not None
        assert price.cache_read < price.input
        assert price.cache_write is None or price.cache_write > price.input
