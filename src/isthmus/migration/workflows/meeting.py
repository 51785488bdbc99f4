"""How the two ends of a copy between sites meet: through their workflow, which both reach outwards.

Only what everybody may see goes through it: addresses and certificates. A sender signals that it wants a receiver and
asks (a query, which leaves nothing in the history) until one has told where it listens.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from temporalio.client import Client
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from isthmus.control.errors import Unavailable
from isthmus.migration.workflows.calls import (
    ASK_RECEIVER,
    INTRODUCE_RECEIVER,
    RECEIVER_OF,
    TELL_SENDER,
    ReceiverIntroduced,
    ReceiverOffer,
    ReceiverState,
    ReceiverWanted,
)

_RPC = timedelta(seconds=5)
Answer = TypeVar("Answer")


class Meeting(Protocol):
    """What the ends of one execution's copies can tell each other. May be called from any thread but the engine's."""

    def ask(self, wanted: ReceiverWanted) -> None:
        """Have a receiver started. Raises Unavailable if the engine cannot be told now."""

    def tell(self, offer: ReceiverOffer) -> None:
        """Say where a receiver listens. Raises Unavailable if the engine cannot be told now."""

    def introduce(self, receiver: ReceiverIntroduced) -> None:
        """Say which certificate a receiver shows to a relay. Raises Unavailable if the engine cannot be told now."""

    def look(self, visit: str) -> ReceiverState | None:
        """Return how a receiver is; None if nobody can be asked now."""


class EngineMeeting:
    """A meeting in a workflow, for threads beside the loop that `client` works in."""

    def __init__(self, client: Client, workflow_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = client.get_workflow_handle(workflow_id)
        self._loop = loop

    def ask(self, wanted: ReceiverWanted) -> None:
        """Signal the workflow."""
        self._signal(ASK_RECEIVER, wanted)

    def tell(self, offer: ReceiverOffer) -> None:
        """Signal the workflow."""
        self._signal(TELL_SENDER, offer)

    def introduce(self, receiver: ReceiverIntroduced) -> None:
        """Signal the workflow."""
        self._signal(INTRODUCE_RECEIVER, receiver)

    def look(self, visit: str) -> ReceiverState | None:
        """Query the workflow."""
        asked = self._handle.query(RECEIVER_OF, visit, result_type=ReceiverState, rpc_timeout=_RPC)
        try:
            state: ReceiverState = self._wait(asked)
        except TemporalError:
            return None
        return state

    def _signal(self, name: str, argument: ReceiverWanted | ReceiverOffer | ReceiverIntroduced) -> None:
        try:
            self._wait(self._handle.signal(name, argument, rpc_timeout=_RPC))
        except RPCError as error:
            raise Unavailable(
                f"the engine cannot be told of the data channel: {error.status.name}; check Temporal"
            ) from None

    def _wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
