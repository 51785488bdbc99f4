"""What an image holds, asked of QEMU's tools in the sandbox."""

import json
from typing import Any

from isthmus.control.errors import Conflict, StepFailed
from isthmus.migration.providers.images import vhdx
from isthmus.migration.providers.images.formats import ImageFile, ImageFormat
from isthmus.migration.providers.images.sandbox import is_locked, node, run_tool

LARGEST_DISK = 64 << 40
"""Bytes. A header can claim any size; no guest of ours has a disk of more than 64 TiB."""
_CHECKED = (ImageFormat.QCOW2, ImageFormat.VMDK, ImageFormat.VHDX)
_CHECK_SECONDS = 900


def virtual_size(image: ImageFile) -> int:
    """Return the size in bytes of the disk that the image holds. Raises `StepFailed` for one that cannot be one."""
    # -U: a size may be asked of an image that is in use; reading one that is written is refused when it is served.
    facts = _ask(["qemu-img", "info", "-U", "--output=json", "--image-opts", node(image)], image)
    if facts.get("backing-filename") or facts.get("full-backing-filename"):
        raise StepFailed(f"{image.label} has a backing file: make one whole image of it (qemu-img convert)")
    size = int(facts.get("virtual-size", 0))
    if not 0 < size <= LARGEST_DISK:
        raise StepFailed(
            f"{image.label} says that it holds a disk of {size} bytes, and none of 0 or of more than 64 TiB is read: "
            "get the image again"
        )
    return size


def refuse_broken(image: ImageFile) -> None:
    """Raise `StepFailed` if the image's own tables are wrong or lead beyond its end: QEMU reads zeros from there."""
    if image.format not in _CHECKED:
        return
    if image.format is ImageFormat.VHDX:
        _see_vhdx_blocks(image)
    command = ["qemu-img", "check", "--output=json", "--image-opts", node(image)]
    status, output, words = run_tool(command, image, seconds=_CHECK_SECONDS)
    if status:
        _refuse_locked(image, words)
    facts = _parse(output)
    end = int(facts.get("image-end-offset", 0))
    wrong = status in (1, 2) or facts.get("corruptions") or facts.get("check-errors")
    if wrong or (end > image.length and image.format is ImageFormat.QCOW2):
        raise StepFailed(f"{image.label} is damaged or cut short: get the image again. {_last(words)}")


def _see_vhdx_blocks(image: ImageFile) -> None:
    try:
        end = vhdx.data_end(image.path, image.offset)
    except (ValueError, KeyError, OverflowError) as error:
        raise StepFailed(f"{image.label} is damaged ({error}): get the image again") from error
    if end > image.length:
        raise StepFailed(f"{image.label} is cut short: get the image again")


def _refuse_locked(image: ImageFile, words: str) -> None:
    if is_locked(words):
        raise Conflict(f"{image.label} is in use by another program: stop its machine and try again")


def _ask(command: list[str], image: ImageFile) -> dict[str, Any]:
    status, output, words = run_tool(command, image)
    if status:
        _refuse_locked(image, words)
        raise StepFailed(
            f"{image.label} cannot be opened as {image.format}: get the image again, or correct its name's ending. "
            f"{_last(words)}"
        )
    return _parse(output)


def _parse(output: str) -> dict[str, Any]:
    try:
        facts = json.loads(output)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _last(words: str) -> str:
    return words.splitlines()[-1] if words else ""
