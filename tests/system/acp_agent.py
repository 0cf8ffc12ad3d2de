"""An agent that speaks ACP and does what its prompt tells it, badly where it is told so. Runs inside a sandbox.

Rules
- Standard library only; JSON-RPC by hand, so that it can do what no SDK would.
- The steps are the JSON list after `DO:` in the prompt's first line of that kind; `AGAIN:` holds those for later
  prompts.
- With `--load`, `--resume` or `--forget` its home remembers the steps that are left, and it takes a session up (or says
  that it does, and does not).
- What it was answered is written to a file `said.json` where a step says so.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

KINDS = ("allow_always", "allow_once", "reject_once", "reject_always")
FAULTS = set(sys.argv[1:])
ODD = "\ud800" if "--odd" in FAULTS else ""
"""JSON can spell half a surrogate pair, which nothing can store."""
STATE: Any = {"id": 1000, "prompts": 0, "cancelled": False, "answers": [], "ignore_cancel": False}
SERVER: dict[str, Any] = {}
MEMORY = Path(os.environ["HOME"]) / "memory.json"


class Refused(Exception):
    """Of which the client is told nothing but its words."""


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(what: str, **fields: Any) -> None:
    params = {"sessionId": "s1", "update": {"sessionUpdate": what, **fields}}
    send({"method": "session/update", "params": params})


def receive() -> Any:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def wait_for(number: int) -> Any:
    """The answer to a request of ours; a cancel that comes meanwhile is remembered."""
    while True:
        message = receive()
        if message.get("id") == number and "method" not in message:
            return message
        if message.get("method") == "session/cancel":
            STATE["cancelled"] = True


def post(message: dict[str, Any], session: str | None = None) -> tuple[Any, str | None]:
    import urllib.request  # noqa: PLC0415 -- slow to load, and few of these agents reach a server

    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers["Authorization"] = SERVER["authorization"]
    if session:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    request = urllib.request.Request(SERVER["url"], json.dumps({"jsonrpc": "2.0", **message}).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text, session = answer.read().decode(), answer.headers.get("Mcp-Session-Id", session)
    for line in text.splitlines():
        if line.startswith("data:") and line[5:].strip():
            text = line[5:]
    return (json.loads(text) if text.strip() else {}), session


def exchange(message: dict[str, Any]) -> Any:
    """One message to the server, over HTTP or to the program that stands for it."""
    if "url" in SERVER:
        answer, SERVER["session"] = post(message, SERVER.get("session"))
        return answer
    if "program" not in SERVER:
        given = SERVER["given"]
        env = {**os.environ, **{each["name"]: each["value"] for each in given["env"]}}
        argv, pipe = [given["command"], *given["args"]], subprocess.PIPE
        SERVER["program"] = subprocess.Popen(argv, env=env, text=True, stdin=pipe, stdout=pipe)
    program = SERVER["program"]
    program.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    program.stdin.flush()
    return json.loads(program.stdout.readline()) if "id" in message else {}


def tool(name: str, arguments: Any) -> Any:
    """Call a tool of the MCP server that the session was given."""
    if not SERVER.get("begun"):
        SERVER["begun"] = True
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        exchange({"id": 1, "method": "initialize", "params": params})
        exchange({"method": "notifications/initialized"})
    STATE["id"] += 1
    call = {"id": STATE["id"], "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    return exchange(call)["result"]["content"][0]["text"]


def model() -> tuple[int, str]:
    """One call to the gateway; its status."""
    import urllib.error  # noqa: PLC0415 -- see `post`
    import urllib.request  # noqa: PLC0415 -- see `post`

    body = {"model": "quarterdeck", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def permission(kind: str, title: str, given: Any, options: Any = KINDS) -> Any:
    return leave({"toolCallId": f"c{STATE['id'] + 1}", "kind": kind, "title": title, "rawInput": given}, options)


def leave(about: Any, options: Any = KINDS) -> Any:
    STATE["id"] += 1
    params = {
        "sessionId": "s1",
        "toolCall": about,
        "options": [{"optionId": f"o-{each}", "kind": each, "name": each} for each in options],
    }
    send({"id": STATE["id"], "method": "session/request_permission", "params": params})
    return wait_for(STATE["id"])["result"]["outcome"]


def step(action: dict[str, Any]) -> str | None:
    """Do one thing; a stop reason ends the turn."""
    (name, value), *_ = action.items()
    if name == "write":
        Path(value[0]).write_text(value[1])
    elif name == "run":
        subprocess.run(["sh", "-c", value], check=True)
    elif name == "say":
        for word in value:
            update("agent_message_chunk", content={"type": "text", "text": word})
    elif name == "call":
        update("tool_call", toolCallId="t1", title="Write a file", kind="edit", status="pending", rawInput=value)
        done = [{"type": "content", "content": {"type": "text", "text": "written"}}]
        update("tool_call_update", toolCallId="t1", status="completed", content=done)
    elif name == "begin":
        update("tool_call", toolCallId=value, title="Never ends", kind="execute", status="in_progress")
    elif name == "plan":
        update("plan", entries=[{"content": text, "status": "pending", "priority": "low"} for text in value])
    elif name == "usage":
        update("usage_update", used=10, size=100, cost={"amount": value, "currency": "USD"})
    elif name == "used":  # with the answer to the prompt
        STATE["used"] = {"inputTokens": value, "outputTokens": 1, "totalTokens": 1}
    elif name == "flood":
        for number in range(value):
            update("agent_message_chunk", content={"type": "text", "text": f"{number} "})
    elif name == "tool":
        STATE["answers"].append(tool(*value))
    elif name == "permission":
        STATE["answers"].append(permission(*value))
    elif name == "announce":  # and ask with the id alone
        update("tool_call", status="pending", **value)
        STATE["answers"].append(leave({"toolCallId": value["toolCallId"]}))
    elif name == "unclear":  # questions that say nothing of what is asked
        for _ in range(value):
            STATE["id"] += 1
            send({"id": STATE["id"], "method": "session/request_permission", "params": {"sessionId": "s1"}})
            STATE["answers"].append("error" in wait_for(STATE["id"]))
    elif name == "leave":
        STATE["answers"].append(leave(value))
    elif name == "model":
        for _ in range(value):
            STATE["answers"].append(model())
            if STATE["answers"][-1][0] != 200:
                break
    elif name == "keep":
        Path(value).write_text(json.dumps(STATE["answers"]))
    elif name == "die":
        print("dying as told", file=sys.stderr, flush=True)
        os._exit(value)
    elif name == "daemon":
        subprocess.Popen(["setsid", "sleep", value], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    elif name == "await-cancel":
        message = receive()
        while message.get("method") != "session/cancel":
            message = receive()
        STATE["cancelled"] = True
        if value == "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
    elif name == "refuse":  # in the very words
        raise Refused(value)
    elif name == "error":
        raise RuntimeError(value)
    elif name == "stop":
        return str(value)
    return None


def prompt(message: Any) -> str:
    text = "".join(block.get("text", "") for block in message["params"]["prompt"])
    STATE["prompts"] += 1
    marker = "DO:" if STATE["prompts"] == 1 else "AGAIN:"
    source = STATE.setdefault("text", text)
    lines = [line.split(marker, 1)[1] for line in source.splitlines() if marker in line]
    if STATE["prompts"] > 1:
        STATE["answers"].append(text)
    actions = json.loads(lines[0]) if lines else []
    if STATE.get("taken_up"):
        actions = json.loads(MEMORY.read_text())
    for number, action in enumerate(actions):
        MEMORY.write_text(json.dumps(actions[number:]))
        stop = step(action)
        if stop:
            return stop
    return "end_turn"


def main() -> None:
    if "--mute" in FAULTS:
        sys.stdin.read()
        return
    if "--junk" in FAULTS:
        print("Welcome to the agent!\n{}\n[1, 2]\nnull\n\x00\xff")
        print(json.dumps({"jsonrpc": "2.0", "id": [1], "result": {}}))
        print(json.dumps({"jsonrpc": "2.0", "method": 7}), flush=True)
    while True:
        message = receive()
        method, number = message.get("method"), message.get("id")
        try:
            if method == "initialize":
                can: Any = {"mcpCapabilities": {"http": "--stdio" not in FAULTS}}
                can["loadSession"] = bool({"--load", "--forget"} & FAULTS)
                can["sessionCapabilities"] = {"resume": {}} if "--resume" in FAULTS else {}
                version = 99 if "--old" in FAULTS else 1
                info = {"name": "scripted" + ODD, "version": "1.0" + ODD}
                send(
                    {"id": number, "result": {"protocolVersion": version, "agentCapabilities": can, "agentInfo": info}}
                )
            elif method == "session/load" and "--forget" in FAULTS:
                os._exit(7)
            elif method in ("session/new", "session/load", "session/resume"):
                if method != "session/new":
                    update("agent_message_chunk", content={"type": "text", "text": "what I said before"})
                    STATE["taken_up"] = message["params"]["sessionId"] == "s1"
                SERVER["given"] = message["params"]["mcpServers"][0]
                STATE["answers"] += [each for each in [message["params"].get("_meta")] if each]
                if "url" in SERVER["given"]:
                    SERVER["url"] = SERVER["given"]["url"]
                    SERVER["authorization"] = SERVER["given"]["headers"][0]["value"]
                assert Path(message["params"]["cwd"]).samefile(".")
                send({"id": number, "result": {"sessionId": "s1" + ODD}})
            elif method == "session/prompt":
                ended = {"stopReason": prompt(message)}
                send({"id": number, "result": ended | ({"usage": STATE["used"]} if "used" in STATE else {})})
            elif method == "session/cancel":
                STATE["cancelled"] = True
            elif number is not None:
                send({"id": number, "error": {"code": -32601, "message": "no such method"}})
        except Exception as error:  # noqa: BLE001 -- whatever goes wrong is told to the client
            said = str(error) if isinstance(error, Refused) else repr(error)
            send({"id": number, "error": {"code": -32000 if "auth" in str(error) else -32603, "message": said}})


main()
