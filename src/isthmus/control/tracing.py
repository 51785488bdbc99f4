"""OpenTelemetry traces through API, outbox, engine and worker; off without `[telemetry] otlp_endpoint`.

    a call of the API ── the outbox row keeps its trace ── the dispatcher starts the workflow in it
        └── the workflow's activities, on any worker, are spans of the same trace

Between processes the trace travels as W3C's traceparent: in the outbox's row, and in the engine's headers (temporalio's
interceptor). Spans name methods, workflows and activities; no argument, body or path goes into one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from oslo_config.cfg import ConfigOpts

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
NAME = "isthmus"
_REQUEST_ID = "openstack.request_id"
"""Where oslo.middleware keeps a request's id in the WSGI environment. Only the API has that library in memory."""


def start(conf: ConfigOpts, service: str) -> None:
    """Send this process's spans to the configured collector, if there is one; call it after a fork, once.

    A collector that is away costs spans, never work.
    """
    endpoint = conf.telemetry.otlp_endpoint
    if not endpoint:
        return
    # Most processes send no spans: they do without these.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    sampler = ParentBased(TraceIdRatioBased(conf.telemetry.trace_ratio))
    provider = TracerProvider(sampler=sampler, resource=Resource.create({"service.name": f"isthmus-{service}"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    trace.set_tracer_provider(provider)


def is_on() -> bool:
    """Return whether this process sends spans."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def flush() -> None:
    """Send what is left, before the process ends."""
    if is_on():
        trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined] # the SDK's provider, which `start` has set


def carried() -> dict[str, str] | None:
    """Return the present trace as it is kept in a row; None if there is none."""
    if not is_on():
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier or None


@contextmanager
def within(carrier: Mapping[str, str] | None) -> Iterator[None]:
    """Do what is inside as a part of a trace that a row has kept."""
    if not carrier or not is_on():
        yield
        return
    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)


def traced(application: Wsgi) -> Wsgi:
    """Return the application with a span for each call; a caller's traceparent is its parent."""
    tracer = trace.get_tracer(NAME)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        parent = propagate.extract({"traceparent": environ.get("HTTP_TRACEPARENT", "")})
        method = environ["REQUEST_METHOD"]
        with tracer.start_as_current_span(f"{method} API", parent, kind=trace.SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", method)
            span.set_attribute("isthmus.request_id", str(environ.get(_REQUEST_ID, "")))

            def keep(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
                code = int(status.split(maxsplit=1)[0])
                span.set_attribute("http.response.status_code", code)
                if code >= 500:
                    span.set_status(trace.StatusCode.ERROR)
                return start_response(status, headers, *exception)

            return application(environ, keep)

    return answer
