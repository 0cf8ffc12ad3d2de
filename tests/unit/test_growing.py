"""A text that grows by pieces: what it holds, and what it does not take."""

import pytest

from quarterdeck.models import growing
from quarterdeck.models.anthropic_messages import MessagesFold
from quarterdeck.models.growing import Growing
from quarterdeck.models.ollama_chat import OllamaFold
from quarterdeck.models.openai_chat import ChatFold
from quarterdeck.models.port import Text
from quarterdeck.models.reply import Draft, DraftCall


def test_it_is_its_pieces_whatever_they_hold() -> None:
    text, pieces = Growing(), ["a\r\n", "", "\n\r", "\ud800", "é\U0001f600", "\0"]
    for piece in pieces:
        text.add(piece)
        str(text)  # it can be looked at on the way
    assert str(text) == "".join(pieces)


def test_what_is_no_text_or_too_much_is_refused_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "MOST", 10)
    text = Growing()
    text.add("1234567")
    for wrong, failure in ((["a"], TypeError), (7, TypeError), ("89ab", ValueError)):
        with pytest.raises(failure):
            text.add(wrong)  # type: ignore[arg-type]  # as a server may send it
    text.add("890")
    assert str(text) == "1234567890"


def chat(*arguments: str) -> Draft:
    fold = ChatFold("m", 0)
    for number, part in enumerate(arguments):
        call = {"index": 0, "function": {"arguments": part}} | ({"id": "c"} if not number else {})
        fold.add({"choices": [{"delta": {"tool_calls": [call]}}]})
    return fold.draft()


def messages(*arguments: str) -> Draft:
    fold = MessagesFold("m")
    block = {"type": "tool_use", "id": "c", "name": "", "input": {}}
    fold.add({"type": "content_block_start", "index": 0, "content_block": block})
    for part in arguments:
        delta = {"type": "input_json_delta", "partial_json": part}
        fold.add({"type": "content_block_delta", "index": 0, "delta": delta})
    return fold.draft()


@pytest.mark.parametrize("fold", [chat, messages])
def test_arguments_of_a_call_grow_in_every_format(fold: object) -> None:
    assert callable(fold)
    assert DraftCall("c", "", '{"a": 1}') in fold('{"a"', ": ", "1}").parts


def test_an_answer_that_never_ends_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "MOST", 100)
    with pytest.raises(ValueError, match="more than 100"):
        messages(*["x" * 30] * 4)
    with pytest.raises(ValueError, match="more than 100"):
        chat(*["x" * 30] * 4)
    ollama = OllamaFold("m", 0)
    with pytest.raises(ValueError, match="more than 100"):
        for _ in range(4):
            ollama.add({"message": {"content": "x" * 30}})
    assert ollama.draft().parts == (Text(text="x" * 90),)
