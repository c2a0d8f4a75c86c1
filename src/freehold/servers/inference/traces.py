"""Traces of requests, sent to an OpenTelemetry collector. They contain no text of prompts or answers.

Source: OpenTelemetry's semantic conventions for generative AI (attributes ``gen_ai.*``), OTLP over HTTP,
and W3C Trace Context for a client's own trace (header ``traceparent``).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from freehold.core.errors import MissingPart
from freehold.inference.interface import Completion

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

#: The header of the current request.
parent: ContextVar[str] = ContextVar("traceparent", default="")


class Traces:
    """Sends spans to ``collector`` (an address, e.g. http://127.0.0.1:4318) in the background; does
    nothing without one.

    Raises MissingPart.
    """

    def __init__(self, collector: str = ""):
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None
        if not collector:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingPart(
                "traces need a package that is not installed", "pip install 'freehold[traces]'"
            ) from error
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "freehold"}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("freehold.serve")

    def begin(self, operation: str, model: str) -> Span | None:
        """Begin a span; None where nothing is traced. ``operation``: chat, text_completion or embeddings."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        header = parent.get()
        context = TraceContextTextMapPropagator().extract({"traceparent": header}) if header else None
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "freehold",
            "gen_ai.request.model": model,
        }
        return self._tracer.start_span(
            f"{operation} {model}", context=context, kind=SpanKind.SERVER, attributes=attributes
        )

    def end(
        self, span: Span | None, status: str, prompt_tokens: int, completion: Completion | None = None
    ) -> None:
        """End a span. ``status``: ok, cancelled or error."""
        if span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("freehold.status", status)
        span.set_attribute("gen_ai.usage.input_tokens", prompt_tokens)
        if completion is not None:
            span.set_attribute("gen_ai.usage.output_tokens", len(completion.tokens))
            span.set_attribute("gen_ai.response.finish_reasons", [completion.finish])
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", completion.reused)
            span.set_attribute("gen_ai.response.time_to_first_chunk", completion.first_token_s)
            if completion.joules is not None:
                span.set_attribute("freehold.energy_joules", completion.joules)
        if status == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what was not sent yet, for up to five seconds."""
        if self._provider is not None:
            self._provider.force_flush(5000)
            self._provider.shutdown()
