"""The way to an OpenTelemetry collector. The one file that knows OpenTelemetry's libraries; loaded where it is used.

Rules
- Ids are ours: they follow from the journal.
- Nothing here waits in a queue or runs by itself: whoever calls `send` and `flush` does so on a thread of his own,
  and they return when the exporter has answered.
- The libraries' own reading of the environment is not relied on: where and with which headers is passed in.
- The libraries say nothing themselves: whoever calls learns what came of it, and tells.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.telemetry import instruments
from quarterdeck.telemetry.port import Instrument, Span
from quarterdeck.telemetry.words import CONVENTIONS, ERROR

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def headers_of(text: str) -> dict[str, str]:
    """`name=value,name=value`, percent-encoded (https://opentelemetry.io/docs/specs/otel/protocol/exporter). Raises
    BadConfiguration, which does not repeat it."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise BadConfiguration("OTEL_EXPORTER_OTLP_HEADERS is not a list of name=value with commas between")
        found[name.strip().lower()] = unquote(value.strip())
    return found


class _Ids(IdGenerator):
    """Gives out the ids of the span that is being made."""

    span = 0
    trace = 0

    def generate_span_id(self) -> int:
        return self.span

    def generate_trace_id(self) -> int:
        return self.trace


class _Made(SpanProcessor):
    """Keeps what was made for the exporter."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _Measures(OTLPMetricExporter):
    """Keeps whether the last delivery was taken: the library's reader does not hand that on."""

    taken = True

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self.taken = result is MetricExportResult.SUCCESS
        return result


class Collector:
    """Spans and measures for one collector. `send` is for one thread; measuring is for any."""

    def __init__(
        self,
        exporter: SpanExporter,
        reader: MetricReader,
        *,
        version: str,
        instance: str,
        taken: Callable[[], bool] = lambda: True,
    ) -> None:
        """`instance`: what tells this process from the ones before and after it. `taken`: whether what `reader`
        delivered last was taken."""
        resource = Resource(
            {"service.name": "quarterdeck", "service.version": version, "service.instance.id": instance}, CONVENTIONS
        )
        self._exporter = exporter
        self._taken = taken
        self._ids, self._made = _Ids(), _Made()
        self._tracing = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=self._ids)
        self._tracing.add_span_processor(self._made)
        self._tracer = self._tracing.get_tracer("quarterdeck", version, schema_url=CONVENTIONS)
        self._metering = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._metering.get_meter("quarterdeck", version, CONVENTIONS)
        made: dict[str, Counter | UpDownCounter | Histogram] = {}
        for each in instruments.ALL:
            match each.kind:
                case "counter":
                    made[each.name] = meter.create_counter(each.name, each.unit, each.says)
                case "level":
                    made[each.name] = meter.create_up_down_counter(each.name, each.unit, each.says)
                case "histogram":
                    made[each.name] = meter.create_histogram(
                        each.name, each.unit, each.says, explicit_bucket_boundaries_advisory=each.bounds
                    )
        self._instruments = made

    def send(self, spans: Sequence[Span]) -> bool:
        """Deliver these spans; whether they were taken."""
        for span in spans:
            self._make(span)
        made, self._made.spans = self._made.spans, []
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def _make(self, span: Span) -> None:
        self._ids.span, self._ids.trace = span.id, span.trace
        context = Context()
        if span.parent:
            parent = SpanContext(span.trace, span.parent, is_remote=False, trace_flags=_SAMPLED)
            context = set_span_in_context(NonRecordingSpan(parent), context)
        made = self._tracer.start_span(
            span.name,
            context,
            SpanKind.CLIENT if span.outward else SpanKind.INTERNAL,
            dict(span.attributes) | ({ERROR: span.error} if span.error else {}),
            [Link(SpanContext(trace, other, is_remote=False, trace_flags=_SAMPLED)) for trace, other in span.links],
            _nanoseconds(span.start),
        )
        if span.error:
            made.set_status(StatusCode.ERROR)
        made.end(_nanoseconds(span.end))

    def measure(self, instrument: Instrument, value: float, labels: Mapping[str, str]) -> None:
        """Count one measurement; it is delivered with the next `flush`."""
        told = {name: text for name, text in labels.items() if text}
        match self._instruments[instrument.name]:
            case Histogram() as histogram:
                histogram.record(value, told)
            case counter:
                counter.add(value, told)

    def flush(self, seconds: float) -> bool:
        """Deliver the metrics as they are now; whether they were taken."""
        try:
            return self._metering.force_flush(seconds * 1000) and self._taken()
        except Exception:  # noqa: BLE001 - the library raises what it met; it is told as "not taken", and counted there
            return False

    def close(self) -> None:
        """Deliver nothing more; a delivery under way on another thread is broken off."""
        self._exporter.shutdown()
        self._metering.shutdown()


def connect(address: str, headers: Mapping[str, str], seconds: float, *, version: str, instance: str) -> Collector:
    """A collector reached over OTLP/HTTP. `address`: its base; the paths of the signals are added. `seconds`: time for
    one delivery, with its retries."""
    _hush()
    base = address.rstrip("/")
    spans = OTLPSpanExporter(f"{base}/v1/traces", headers=dict(headers), timeout=seconds, compression=Compression.Gzip)
    metrics = _Measures(f"{base}/v1/metrics", headers=dict(headers), timeout=seconds, compression=Compression.Gzip)
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=math.inf)
    return Collector(spans, reader, version=version, instance=instance, taken=lambda: metrics.taken)


def _hush() -> None:
    """Each try that fails is a line of the libraries' own, on standard error where nobody else takes it."""
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    if not theirs.handlers:
        theirs.addHandler(logging.NullHandler())


def _nanoseconds(at: float) -> int:
    return round(at * 1_000_000_000)
