"""Which queued changes have a file in common: all of them, in the queue's order, in a time in proportion."""

import time
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.gate.overlaps import in_common


@given(st.lists(st.frozensets(st.sampled_from("abcdef"), max_size=4), max_size=12))
def test_every_pair_with_a_file_in_common_is_found_in_the_order_of_the_queue(changes: list[frozenset[str]]) -> None:
    files = {f"r-1.t{9 - number}.1": paths for number, paths in enumerate(changes)}
    assert in_common(files) == [pair for pair in combinations(files, 2) if files[pair[0]] & files[pair[1]]]


def test_a_long_queue_is_looked_at_in_a_time_in_proportion() -> None:
    """Each change that comes or goes has all of it looked at."""
    files = {f"r-1.t{number}.1": {f"{number}.py", f"{number}_test.py"} for number in range(3_000)}
    began = time.thread_time()
    assert in_common(files) == []
    assert time.thread_time() - began < 0.3
