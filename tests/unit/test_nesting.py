"""How deep a Python text nests, at a glance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.merge import nesting, python_tree
from quarterdeck.merge.python_tree import too_deep

TEXTS = st.lists(
    st.sampled_from(
        ["(", "[", "{", "}", "]", ")", ",", "\n", "\\\n", "'", '"', "'''", '"""', "#", "\\", " ", "r", "a b", "+"]
    )
).map("".join)


@given(TEXTS)
def test_what_is_flat_at_a_glance_is_flat_word_by_word(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (nesting, python_tree):
            patch.setattr(module, "LONGEST_CHAIN", 6)
            patch.setattr(module, "DEEPEST_BRACKET", 2)
        glance = nesting.surely_flat(text)
        patch.setattr(python_tree, "surely_flat", lambda text: False)
        assert not glance or too_deep(text) == ""


def test_ordinary_code_is_flat_at_a_glance() -> None:
    line = "    value = call(first, [second, {'third': (4, 5)}])  # why it is so: ((((\n"
    assert nesting.surely_flat(f'"""{"(" * 100}"""\n' + line * 500)


def test_what_is_not_is_looked_at_word_by_word() -> None:
    assert not nesting.surely_flat("(" * 41)
    assert too_deep("(" * 41) == "brackets nest deeper than 40"
    assert not nesting.surely_flat("a" * 3000)
    assert too_deep("a" * 3000) == ""
    assert "more than 2000 words" in too_deep("a + " * 1500)
