"""When spending leaves its own baseline. Pure.

Rules
- A run is held against earlier runs in the same repository, an agent's attempt against its earlier attempts, a day
  against earlier days. Fewer than `LEAST` of them say nothing.
- The baseline is the median: half of the samples may be anything and do not move it far. The spread is the median
  distance from it (MAD); for amounts that scatter evenly, 1.4826 times that is their standard deviation.
- Worth a notice is what lies more than `SPREADS` such deviations above the median and is more than twice the median and
  more than `FLOOR_NUSD` above it: where every sample is the same the spread is nothing, and nobody is told about cents.
- Nothing is stopped: that is what caps are for.

Source for median and MAD: Leys et al., "Detecting outliers: Do not use standard deviation around the mean, use absolute
deviation around the median", J. Exp. Soc. Psychol. 49 (2013). They suggest three deviations; costs have a longer tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Final

LEAST: Final = 5
"""Samples without which there is no baseline."""

KEPT: Final = 50
"""Samples that are looked at, the newest."""

SPREADS: Final = 6
FLOOR_NUSD: Final = 250_000_000
"""A quarter of a dollar."""

_SCALE: Final = (14_826, 10_000)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual, in nano-USD."""

    usual: int
    """The median."""
    bound: int
    """More than this has left the baseline."""
    samples: int


def baseline(samples: Sequence[int]) -> Baseline | None:
    """The baseline of earlier costs (nano-USD, in any order); None where they are too few."""
    if len(samples) < LEAST:
        return None
    usual = median_low(samples)
    spread = median_low([abs(sample - usual) for sample in samples]) * _SCALE[0] // _SCALE[1]
    return Baseline(usual, usual + max(SPREADS * spread, usual, FLOOR_NUSD), len(samples))


def departs(spent: int, samples: Sequence[int]) -> Baseline | None:
    """The baseline that `spent` (nano-USD) has left; None where it has not, or there is none."""
    found = baseline(samples) if spent > FLOOR_NUSD else None
    return found if found is not None and spent > found.bound else None
