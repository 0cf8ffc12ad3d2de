"""What Prometheus reads. The one file that knows its client library; loaded where it is used.

Rules
- Names and labels are those of the instruments, as the OpenTelemetry specification turns them into Prometheus's: dots
  become underscores, the unit and `_total` follow.
- A registry of its own: nothing about this process is told beyond what is measured here.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from quarterdeck.telemetry import instruments
from quarterdeck.telemetry.port import Instrument

_UNITS: Final = {"s": "_seconds", "USD": "_usd"}


class Exposition:
    """Everything measured, as Prometheus's text format."""

    def __init__(self) -> None:
        # Else each series has one more: when it began.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for it
        self._registry = CollectorRegistry(auto_describe=False)
        self._made: dict[str, Counter | Gauge | Histogram] = {each.name: self._make(each) for each in instruments.ALL}

    def _make(self, instrument: Instrument) -> Counter | Gauge | Histogram:
        name = instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")
        labels = [label.replace(".", "_") for label in instrument.labels]
        match instrument.kind:
            case "counter":
                return Counter(name, instrument.says, labels, registry=self._registry)
            case "level":
                return Gauge(name, instrument.says, labels, registry=self._registry)
            case "histogram":
                return Histogram(name, instrument.says, labels, registry=self._registry, buckets=instrument.bounds)

    def measure(self, instrument: Instrument, value: float, labels: Mapping[str, str]) -> None:
        """Count one measurement. `labels`: all of the instrument's, in their order."""
        made = self._made[instrument.name]
        one = made.labels(*labels.values()) if labels else made
        match one:
            case Histogram():
                one.observe(value)
            case Counter() | Gauge():
                one.inc(value)

    def text(self) -> tuple[bytes, str]:
        """The present values, and their content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
