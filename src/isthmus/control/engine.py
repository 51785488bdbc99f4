"""Temporal as the rest of Isthmus sees it: one way to connect, one mapping of errors, and questions for sync callers.

Errors cross the engine as application failures whose `type` is the error's `code`; on the other side the same class
of `control.errors` comes out. Data crosses as JSON made by pydantic; no secret ever does.

A process must not fork after `Engine.ask` was called and use the child's inherited connection: the connection is
made lazily and anew in each process, by one asyncio thread.
"""

import asyncio
import os
import threading
import uuid
from collections.abc import Coroutine, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from oslo_config.cfg import ConfigOpts
from temporalio.client import Client, Interceptor, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from temporalio.exceptions import ApplicationError, FailureError, TemporalError
from temporalio.service import RPCError, TLSConfig

from isthmus.control import errors, tracing
from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.control.loopback import is_loopback
from isthmus.control.queues import CONDUCTOR_QUEUE

ANSWER_MARGIN_SECONDS = 5.0
"""How much longer than the question itself the caller waits, for the engine's own round trips."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class EngineAddress:
    """Where Temporal is and how to trust it; see the `[temporal]` options. Copy of the configuration, for threads."""

    address: str
    namespace: str
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    tls_server_name: str | None = None
    allow_plaintext: bool = False

    @classmethod
    def of(cls, conf: ConfigOpts) -> "EngineAddress":
        """Take the `[temporal]` group of a loaded configuration."""
        group = conf.temporal
        return cls(
            group.address,
            group.namespace,
            group.tls_ca_file,
            group.tls_cert_file,
            group.tls_key_file,
            group.tls_server_name,
            group.allow_plaintext,
        )

    def tls(self) -> TLSConfig | bool:
        """Return the TLS settings; False for a plain connection, `InvalidInput` if that would leave this host."""
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_key_file)
        if not any(files) and not self.tls_server_name:
            if not (self.allow_plaintext or is_loopback(self.address.rpartition(":")[0])):
                raise errors.InvalidInput(
                    f"[temporal] address = {self.address} is beyond this host and has no TLS: set tls_ca_file (and "
                    "tls_cert_file, tls_key_file), or allow_plaintext where something else encrypts the way there"
                )
            return False
        ca, cert, key = (Path(name).read_bytes() if name else None for name in files)
        return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key, domain=self.tls_server_name)


_JSON = PydanticJSONPlainPayloadConverter()


class FactsConverter(CompositePayloadConverter):
    """Facts as JSON, by pydantic. All share one JSON converter: the engine makes a `FactsConverter` for each workflow,
    and building the validators of our types takes longer than all that a short workflow does with them.
    """

    def __init__(self) -> None:
        kinds = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(_JSON if isinstance(each, JSONPlainPayloadConverter) else each for each in kinds))


DATA_CONVERTER = DataConverter(payload_converter_class=FactsConverter)


async def connect(address: EngineAddress) -> Client:
    """Return a connected client; `Unavailable` if Temporal does not answer, `InvalidInput` for unreadable TLS files."""
    try:
        tls = address.tls()
    except OSError as error:
        raise errors.InvalidInput(
            f"cannot read {error.filename} named in [temporal]: {error.strerror}; correct the path"
        ) from error
    try:
        return await Client.connect(
            address.address,
            namespace=address.namespace,
            data_converter=DATA_CONVERTER,
            tls=tls,
            interceptors=_interceptors(),
            connect_timeout=timedelta(seconds=5),
        )
    except (RuntimeError, RPCError) as error:
        raise Unavailable(
            f"the engine at {address.address} does not answer: {error}; check that Temporal runs and [temporal] address"
        ) from error


def _interceptors() -> list[Interceptor]:
    if not tracing.is_on():
        return []
    from temporalio.contrib.opentelemetry import TracingInterceptor  # noqa: PLC0415 - most processes do without

    return [TracingInterceptor()]


def _codes() -> dict[str, type[IsthmusError]]:
    """Return the error class of each code. A room may refine a class for itself; the tree's own stands for the code."""
    found: dict[str, type[IsthmusError]] = {}
    pending = [IsthmusError]
    while pending:
        kind = pending.pop(0)
        found.setdefault(kind.code, kind)
        pending.extend(kind.__subclasses__())
    return found


def as_failure(error: IsthmusError, *details: Any) -> ApplicationError:
    """Return the engine's form of an error; only retryable ones are tried again by the engine."""
    return ApplicationError(error.message, *details, type=error.code, non_retryable=not error.retryable)


def from_failure(failure: BaseException) -> IsthmusError:
    """Return the error that an engine's failure stands for: the innermost application failure decides.

    Timeouts and a cancelled activity without a reason of its own become `Unavailable` and `Cancelled`.
    """
    causes = [failure]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for cause in reversed(causes):
        if isinstance(cause, ApplicationError):
            kind = _codes().get(cause.type or "", StepFailed)
            return kind(cause.message)
    innermost = causes[-1]
    name = type(innermost).__name__
    if name == "CancelledError":
        return errors.Cancelled("the work was cancelled")
    if name == "TimeoutError" and isinstance(innermost, FailureError):
        return Unavailable(f"no worker finished the work in time ({innermost.message}); check that a worker runs")
    return StepFailed(f"the engine failed unexpectedly: {name}: {innermost}")


class Engine:
    """The engine for callers that are not asynchronous. Thread-safe; cheap to make, connects at the first question."""

    def __init__(self, conf: ConfigOpts) -> None:
        self._address = EngineAddress.of(conf)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._client: Client | None = None

    def ask(self, workflow: str, argument: Mapping[str, Any], *, timeout_seconds: float = 60) -> dict[str, Any]:
        """Run a short workflow and return its answer.

        Raises the error that the workflow failed with (same class), and `Unavailable` if Temporal does not answer or
        no worker took the question within `timeout_seconds`.
        """
        return self._wait(
            self._ask(workflow, dict(argument), timeout_seconds), timeout_seconds + 2 * ANSWER_MARGIN_SECONDS
        )

    def close(self) -> None:
        """Stop the connection's thread. Calling it twice is fine."""
        with self._lock:
            loop, self._loop, self._client = self._loop, None, None
        if loop is not None and self._process == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _wait(self, work: Coroutine[Any, Any, Answer], timeout_seconds: float) -> Answer:
        future = asyncio.run_coroutine_threadsafe(work, self._running_loop())
        try:
            return future.result(timeout_seconds)
        except FutureTimeoutError as error:
            future.cancel()
            raise Unavailable(
                f"the engine at {self._address.address} did not answer in {timeout_seconds:.0f} s; check Temporal"
            ) from error

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._client = None
                threading.Thread(target=_turn, args=(self._loop,), name="engine", daemon=True).start()
            return self._loop

    async def _ask(self, workflow: str, argument: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        if self._client is None:
            self._client = await connect(self._address)
        limit = timedelta(seconds=timeout_seconds)
        try:
            handle: WorkflowHandle[Any, Any] = await self._client.start_workflow(
                workflow,
                argument,
                id=f"{workflow}-{uuid.uuid4()}",
                task_queue=CONDUCTOR_QUEUE,
                execution_timeout=limit,
                retry_policy=RetryPolicy(maximum_attempts=1),
                rpc_timeout=timedelta(seconds=ANSWER_MARGIN_SECONDS),
            )
            answer = await asyncio.wait_for(handle.result(), timeout_seconds + ANSWER_MARGIN_SECONDS)
        except WorkflowFailureError as error:
            raise _unanswered(error, timeout_seconds) from error
        except (RPCError, TimeoutError, TemporalError) as error:
            raise Unavailable(
                f"the engine at {self._address.address} does not answer: {error}; check that Temporal runs"
            ) from error
        return dict(answer or {})


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _unanswered(error: WorkflowFailureError, timeout_seconds: float) -> IsthmusError:
    if type(error.cause).__name__ == "TimeoutError":
        return Unavailable(
            f"nobody answered within {timeout_seconds:.0f} s: check that a conductor runs and that a worker serves "
            "the endpoint's region"
        )
    return from_failure(error)
