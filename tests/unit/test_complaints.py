"""What is wrong with a value, in plain words."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quarterdeck.kernel.complaints import complaint, did_you_mean, nearest


class Sample(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="x", min_length=1, max_length=3)
    pair: tuple[str, ...] = Field(default=("x", "y"), min_length=1)
    table: dict[str, int] = {}
    whole: int = Field(default=1, ge=1, le=9)
    share: float = Field(default=0.5, ge=0.25, lt=1.0, allow_inf_nan=False)
    flag: bool = True
    colour: Literal["red", "blue"] = "red"
    told: str = ""

    @field_validator("told")
    @classmethod
    def _check(cls, value: str) -> str:
        if value:
            raise ValueError("say nothing")
        return value


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("text", 3, "text belongs here"),
        ("text", "", "it must not be empty"),
        ("text", "four", "it must have at most 3 characters"),
        ("pair", "no", "a list belongs here"),
        ("pair", [], "it must not be empty"),
        ("table", [], "keys with values belong here"),
        ("whole", "x", "a whole number belongs here"),
        ("whole", 1.5, "a whole number belongs here"),
        ("whole", 0, "it must be at least 1"),
        ("whole", 10, "it must be at most 9"),
        ("share", "x", "a number belongs here"),
        ("share", float("nan"), "a finite number belongs here"),
        ("share", 0.1, "it must be at least 0.25"),
        ("share", 1, "it must be less than 1"),
        ("flag", "perhaps", "true or false belongs here"),
        ("colour", "green", "it must be 'red' or 'blue'"),
        ("told", "something", "say nothing"),
        ("other", 1, "this key is not known"),
    ],
)
def test_a_complaint_is_plain(key: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample(**{key: value})
    assert complaint(caught.value.errors()[0]) == words


def test_an_unforeseen_complaint_is_passed_on() -> None:
    assert complaint({"type": "something_new", "msg": "as it was said"}) == "as it was said"


def test_a_misspelt_word_is_recognised() -> None:
    assert nearest("gat", ["gate", "timeout"]) == "gate"
    assert did_you_mean("gat", ["gate"]) == ", did you mean `gate`?"
    assert did_you_mean("colour", ["gate"]) == ""
