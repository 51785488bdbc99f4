"""One back end's storage: its file system mounted, recognised each time it is used, and shown to the servers."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.shares.drivers.btrfs import mounts
from isthmus.shares.drivers.btrfs.options import Options
from isthmus.shares.drivers.btrfs.pool import SHARES, SNAPSHOTS, Pool, storage_errors
from isthmus.shares.drivers.contract import BackendUnavailable, DriverFailed

_IDENTITY = "pool-uuid"


class Storage:
    """Opens the pool anew for each use, so it works again as soon as a lost file system is back."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self._mounting = threading.Lock()

    def start(self) -> None:
        """Mount and prepare the pool, and mount again all that servers know. Already so: returns.

        Raises BackendUnavailable if the file system is not there, or is another one than the last time.
        """
        self._options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._attach()
        with storage_errors(f"the pool of back end {self._name}"):
            mounts.cover(self._options.state / "mounts")
            with self._opened() as pool:
                self._recognise(pool, first=True)
                pool.prepare()
        self.show_served()

    @contextmanager
    def pool(self, subject: str) -> Iterator[Pool]:
        """Open the pool to do something to `subject`, which errors name.

        Raises BackendUnavailable if the pool is not mounted, and what `storage_errors` says.
        """
        with storage_errors(subject), self._opened() as pool:
            self._recognise(pool, first=False)
            yield pool

    def shown_at(self, name: str) -> Path:
        """Return where a share or snapshot is mounted for the servers."""
        return self._options.state / "mounts" / name

    def show(self, pool: Pool, room: str, name: str) -> Path:
        """Mount a share or snapshot for the servers, and remember it. Already so: returns where."""
        target = self.shown_at(name)
        with self._mounting:
            pool.note_served(name)
            _mount(pool.path(room, name), target)
        return target

    def hide(self, pool: Pool, name: str) -> None:
        """Take the mount away. Not there: returns."""
        with self._mounting:
            mounts.release(self.shown_at(name))
            pool.forget_served(name)

    def show_served(self) -> tuple[str, ...]:
        """Mount all that servers know, as after a restart; return their names."""
        served = []
        with self.pool(f"the pool of back end {self._name}") as pool:
            for name in pool.served():
                room = SNAPSHOTS if name.startswith("snapshot-") else SHARES
                with self._mounting:
                    # What is removed is hidden first: still served under the lock, it is there until the lock is free.
                    if pool.is_served(name) and pool.has(room, name):
                        _mount(pool.path(room, name), self.shown_at(name))
                        served.append(name)
        return tuple(served)

    def release(self) -> None:
        """Take all mounts away, the pool's too if it is an image; loop devices go with them."""
        mounts.release_below(self._options.state / "mounts")
        if self._options.image:
            mounts.release_below(self._options.directory)

    def _attach(self) -> None:
        if self._options.image:
            known = (self._options.state / _IDENTITY).exists()
            if not known:
                # An image that was there once is never replaced by an empty one.
                mounts.make_image(self._options.image, self._options.image_gib)
            mounts.mount_image(self._options.image, self._options.directory)

    @contextmanager
    def _opened(self) -> Iterator[Pool]:
        where = self._options.directory
        try:
            descriptor = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise BackendUnavailable(f"pool {where} of back end {self._name} is not there: mount it") from error
        try:
            try:
                pool = Pool(where, descriptor)
            except OSError as error:
                if error.errno != errno.ENOTTY:
                    raise
                raise BackendUnavailable(
                    f"pool {where} of back end {self._name} is not on btrfs: mount a btrfs there"
                ) from error
            yield pool
        finally:
            os.close(descriptor)

    def _recognise(self, pool: Pool, *, first: bool) -> None:
        """Make sure that it is the file system that it was: what lies below a lost mount may be a btrfs, too."""
        book = self._options.state / _IDENTITY
        try:
            known = book.read_text().strip()
        except FileNotFoundError:
            if not first:
                raise DriverFailed(f"back end {self._name} was not started") from None
            book.write_text(pool.uuid + "\n")
            return
        if known != pool.uuid:
            raise BackendUnavailable(
                f"pool {self._options.directory} of back end {self._name} is file system {pool.uuid} and was {known}: "
                f"mount the right one, or remove {book} to begin with an empty pool"
            )


def _mount(source: Path, target: Path) -> None:
    if not _is_shown(source, target):
        mounts.release(target)
        mounts.bind(source, target)


def _is_shown(source: Path, target: Path) -> bool:
    try:
        shown = target.stat()
    except FileNotFoundError:
        return False
    wanted = source.stat()
    return (shown.st_dev, shown.st_ino) == (wanted.st_dev, wanted.st_ino)
