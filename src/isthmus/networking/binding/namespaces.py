"""Netlink in a network namespace, entered by an open file so that the namespace cannot be exchanged meanwhile.

A namespace belongs to a thread: each visit has one of its own, which ends with the visit (about 3 ms).
"""

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from isthmus.networking.binding.contract import NamespaceGone
from isthmus.networking.binding.netlink import IPRoute

Answer = TypeVar("Answer")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def open_namespace(path: str) -> Iterator[int]:
    """Give an open file of a network namespace; `NamespaceGone` if there is none at the path."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone(path) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def inside(descriptor: int, path: str, work: Callable[[IPRoute], Answer]) -> Answer:
    """Return what `work` returns for a netlink socket of the namespace. `path` is for messages."""

    def speak() -> Answer:
        with IPRoute() as netlink:
            return work(netlink)

    return _visit(descriptor, path, speak)


def socket_inside(descriptor: int, path: str, family: int, kind: int) -> socket.socket:
    """Return a socket that belongs to the namespace, for use anywhere."""
    return _visit(descriptor, path, lambda: socket.socket(family, kind))


def _visit(descriptor: int, path: str, act: Callable[[], Answer]) -> Answer:
    answers: list[Answer] = []
    failures: list[BaseException] = []

    def visit() -> None:
        try:
            _enter(descriptor, path)
            answers.append(act())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            failures.append(error)

    visitor = threading.Thread(target=visit, name="namespace-visit", daemon=True)
    visitor.start()
    visitor.join()
    if failures:
        raise failures[0]
    return answers[0]


def _enter(descriptor: int, path: str) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise _gone(path)


def _gone(path: str) -> NamespaceGone:
    return NamespaceGone(f"there is no network namespace at {path}; start the container again, or correct the path")
