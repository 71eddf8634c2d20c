"""Traces: request → queue → batch → engine, to an OTLP collector.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT names one; then nothing of OpenTelemetry is imported, and a span is a block that
does nothing.

    with tracing.span("job", kind="consumer", parent=traceparent, task="stt") as job:
        …
        job.note(status="failed")

Contexts cross processes as W3C's `traceparent`. The runtime's activities come through `ml.observe`. Spans name routes,
models and causes; what is said and who says it is in none.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from django.conf import settings

from common import context
from ml import observe

Kind = Literal["internal", "server", "consumer"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1


class Handle:
    """A span under way, or none."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def name(self, name: str) -> None:
        """For what is known only later: the route of a request."""
        if self._span is not None:
            self._span.update_name(name)

    def note(self, **facts: str | float | bool) -> None:
        if self._span is not None:
            self._span.set_attributes(facts)

    def fail(self, cause: str) -> None:
        """cause: an error's class or code."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, cause))

    def end(self) -> None:
        """Of what `begin` began."""
        if self._span is not None:
            self._span.end()


_NONE = Handle()
_tracer: Any = None
_provider: Any = None


def active() -> bool:
    return _tracer is not None


def start() -> None:
    """Traces from now on, where a collector is named."""
    global _tracer, _provider  # noqa: PLW0603  (one a process)
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create({"service.name": settings.OTEL_SERVICE_NAME, "service.version": settings.VERSION})
    sampler = ParentBased(TraceIdRatioBased(settings.OTEL_TRACES_SAMPLER_RATIO))
    _provider = TracerProvider(resource=resource, sampler=sampler)
    endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=settings.OTEL_EXPORT_SECONDS)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("speech", settings.VERSION)
    observe.trace_with(_RuntimeTracer())


def stop() -> None:
    """Sends what has not been sent."""
    global _tracer, _provider  # noqa: PLW0603  (one a process)
    if _provider is not None:
        observe.trace_with(None)
        _provider.shutdown()
        _tracer = _provider = None


@contextlib.contextmanager
def span(name: str, *, kind: Kind = "internal", parent: str = "", **facts: str | float | bool) -> Iterator[Handle]:
    """The time of the block, under `parent` (a `traceparent`) or what this thread does. What it raises fails it."""
    if _tracer is None:
        yield _NONE
        return
    with _entered(_tracer.start_span(name, context=_context_of(parent), kind=_kind(kind), attributes=facts)) as made:
        yield made


def begin(name: str, *, kind: Kind = "internal", parent: str = "", **facts: str | float | bool) -> Handle:
    """As `span`, for what ends elsewhere, by the handle's `end`: this task is in it until the task's own end."""
    if _tracer is None:
        return _NONE
    from opentelemetry import context as otel
    from opentelemetry import trace

    made = _tracer.start_span(name, context=_context_of(parent), kind=_kind(kind), attributes=facts)
    otel.attach(trace.set_span_in_context(made))
    context.trace_id.set(f"{made.get_span_context().trace_id:032x}")
    return Handle(made)


def past(name: str, begun: datetime, ended: datetime, **facts: str | float | bool) -> None:
    """A span that is over, under what this thread does."""
    if _tracer is not None:
        made = _tracer.start_span(name, start_time=_nanoseconds(begun), attributes=facts)
        made.end(_nanoseconds(max(begun, ended)))


def traceparent() -> str:
    """Of what this thread does, for whoever goes on with it; empty: nothing is traced."""
    if _tracer is None:
        return ""
    from opentelemetry.trace import get_current_span

    here = get_current_span().get_span_context()
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}" if here.is_valid else ""


def trace_id_of(header: str) -> str:
    """The trace that a caller's `traceparent` names, or nothing: for the log, whether or not we trace."""
    found = _TRACEPARENT.fullmatch(header)
    return found[1] if found and set(found[1]) != {"0"} else ""


@contextlib.contextmanager
def _entered(span: Any) -> Iterator[Handle]:
    """Without the messages of exceptions: they may say what was asked for."""
    from opentelemetry import trace

    told = context.trace_id.set(f"{span.get_span_context().trace_id:032x}")
    handle = Handle(span)
    try:
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield handle
            except BaseException as error:
                handle.fail(type(error).__name__)
                raise
    finally:
        context.trace_id.reset(told)


def _kind(kind: Kind) -> Any:
    from opentelemetry.trace import SpanKind

    return {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER}[kind]


def _context_of(header: str) -> Any:
    """None: as this thread is."""
    from opentelemetry import trace

    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    flags = trace.TraceFlags(int(found[3], 16) & _SAMPLED)
    parent = trace.SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent.is_valid else None


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)


class _RuntimeTracer:
    """Draws what `ml.observe` tells. Marks are span contexts."""

    def here(self) -> Any:
        from opentelemetry.trace import get_current_span

        here = get_current_span().get_span_context()
        return here if here.is_valid else None

    @contextlib.contextmanager
    def activity(self, name: str, parents: Sequence[Any], facts: dict[str, Any]) -> Iterator[None]:
        """What serves several is drawn in the first one's trace, with links to the others; in each of theirs stands a
        span of the same time with a link to it."""
        from opentelemetry import trace

        def under(mark: Any) -> Any:
            return trace.set_span_in_context(trace.NonRecordingSpan(mark))

        others = list({mark.span_id: mark for mark in parents if mark.span_id != parents[0].span_id}.values())
        links = [trace.Link(mark) for mark in others]
        made = _tracer.start_span(name, context=under(parents[0]), links=links, attributes=facts)
        begun = made.start_time if made.is_recording() else None
        try:
            with _entered(made):
                yield
        finally:
            for mark in others:
                link = trace.Link(made.get_span_context())
                _tracer.start_span(name, context=under(mark), links=[link], attributes=facts, start_time=begun).end()
