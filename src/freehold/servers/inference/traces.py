"""Traces of requests, sent to an OpenTelemetry collector that the operator names. They hold no word of prompts or answers.

Source: OpenTelemetry's semantic conventions for generative AI (attributes ``gen_ai.*``), OTLP over HTTP, and W3C Trace Context for a client's own
trace (header ``traceparent``).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from freehold.core.errors import MissingPart
from freehold.inference.interface import Completion

#: The header of the request under way.
parent: ContextVar[str] = ContextVar("traceparent", default="")


class Traces:
    """Spans go to ``collector`` (an address, e.g. http://127.0.0.1:4318) in the background; without one nothing is done. Raises MissingPart."""

    def __init__(self, collector: str = ""):
        self._tracer: Any = None
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

    def begin(self, operation: str, model: str) -> Any:
        """A span begins; ``operation``: chat, text_completion or embeddings. None where nothing is traced."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = (
            TraceContextTextMapPropagator().extract({"traceparent": parent.get()}) if parent.get() else None
        )
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "freehold",
            "gen_ai.request.model": model,
        }
        return self._tracer.start_span(
            f"{operation} {model}", context=context, kind=SpanKind.SERVER, attributes=attributes
        )

    def end(self, span: Any, status: str, tokens: int, done: Completion | None = None) -> None:
        """It has ended as ``status`` says (ok, cancelled, error), after so many tokens of prompt."""
        if span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("freehold.status", status)
        span.set_attribute("gen_ai.usage.input_tokens", tokens)
        if done is not None:
            told = {"gen_ai.usage.output_tokens": len(done.tokens), "gen_ai.response.finish_reasons": [done.finish],
                    "gen_ai.usage.cache_read.input_tokens": done.reused, "gen_ai.response.time_to_first_chunk": done.first_token_s}  # fmt: skip
            span.set_attributes(
                told if done.joules is None else told | {"freehold.energy_joules": done.joules}
            )
        if status == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what has not been sent, for up to five seconds."""
        if self._tracer is not None:
            self._provider.force_flush(5000)
            self._provider.shutdown()
