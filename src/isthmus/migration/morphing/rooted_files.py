"""File work inside a directory that somebody else filled: the guest's root, mounted by the worker's own kernel.

Every path is resolved by the kernel with that directory as "/" (`openat2` with RESOLVE_IN_ROOT), so that no link in the
guest leads to the host. Only regular files are read or written: a FIFO or a device node in a file's place is refused
without being waited for.
"""

import os
import posixpath
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing.kernel_calls import open_in_root

LARGEST_FILE = 4 << 20
_PIECE = 1 << 20
_LABEL = "security.selinux"
MOST_NAMES = 100_000


class RootedFiles:
    """Files below one directory."""

    def __init__(self, root: str) -> None:
        """Keep `root` open; `close` gives it back."""
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let the directory go, so that it can be unmounted."""
        os.close(self._root)

    def read(self, path: str) -> str | None:
        """Return a text file's content; None if there is none. `StepFailed` if it is not a regular file or too big."""
        try:
            descriptor = open_in_root(self._root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StepFailed(f"{path} in the guest cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StepFailed(f"{path} in the guest is not a regular file: mend it in the source machine")
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise StepFailed(f"{path} in the guest is larger than 4 MiB: make it smaller in the source machine")
        return content.decode(errors="surrogateescape")

    def download(self, path: str, destination: str, largest: int) -> None:
        """Copy a regular file of at most `largest` bytes to a path of the host's. Raises `StepFailed`."""
        try:
            descriptor = open_in_root(self._root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise StepFailed(f"{path} in the guest cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file, open(destination, "wb") as copy:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
                raise StepFailed(f"{path} in the guest is not a regular file of at most {largest} bytes")
            while piece := file.read(_PIECE):
                copy.write(piece)

    def upload(self, source: str, path: str) -> None:
        """Put a file of the host's in the place of one of the guest's, atomically."""
        with open(source, "rb") as file:
            self._replace(path, 0o644, lambda: file.read(_PIECE))

    def write(self, path: str, content: str, mode: int) -> None:
        """Replace a file atomically, keeping the owner, mode and SELinux label of the one that it replaces."""
        pieces = [content.encode(errors="surrogateescape")]
        self._replace(path, mode, lambda: pieces.pop() if pieces else b"")

    def _replace(self, path: str, mode: int, next_piece: Callable[[], bytes]) -> None:
        directory, name = posixpath.split(path)
        self._make_directories(directory)
        with self._directory(directory) as parent:
            self._refuse_directory(parent, name, path)
            temporary = f".{name}.{secrets.token_hex(4)}"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
            with os.fdopen(descriptor, "wb") as file:
                owner, group, kept_mode = self._owner(parent, name, mode)
                os.fchown(descriptor, owner, group)
                os.fchmod(descriptor, kept_mode)
                self._label(parent, name, descriptor)
                while piece := next_piece():
                    file.write(piece)
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def remove(self, path: str) -> bool:
        """Remove a file or link. Return whether it was there."""
        directory, name = posixpath.split(path)
        try:
            with self._directory(directory) as parent:
                os.unlink(name, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StepFailed(f"{path} in the guest cannot be removed: {error.strerror}") from error
        return True

    def exists(self, path: str) -> bool:
        """Return whether the path exists; a link that leads nowhere counts as existing."""
        directory, name = posixpath.split(path.rstrip("/") or "/")
        try:
            with self._directory(directory) as parent:
                os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        except OSError:
            return False
        return True

    def list_directory(self, path: str) -> list[str]:
        """Return the sorted names in a directory, none if it is missing; `StepFailed` for a monstrous one."""
        names: list[str] = []
        try:
            with self._directory(path) as directory, os.scandir(directory) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > MOST_NAMES:
                        raise StepFailed(f"{path} in the guest holds more than {MOST_NAMES} names: clean it up there")
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StepFailed(f"{path} in the guest cannot be listed: {error.strerror}") from error
        return sorted(names)

    def link(self, path: str, target: str) -> None:
        """Make or replace a symbolic link."""
        directory, name = posixpath.split(path)
        self._make_directories(directory)
        with self._directory(directory) as parent:
            self._refuse_directory(parent, name, path)
            temporary = f".{name}.{secrets.token_hex(4)}"
            os.symlink(target, temporary, dir_fd=parent)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def ensure_directory(self, path: str) -> str:
        """Return a host path of a directory of the guest, links resolved inside it; made if missing. To mount on."""
        self._make_directories(path)
        with self._directory(path) as directory:
            return os.readlink(f"/proc/self/fd/{directory}")

    @contextmanager
    def _directory(self, path: str) -> Iterator[int]:
        # Not O_PATH: the descriptor is listed with scandir too.
        descriptor = open_in_root(self._root, path or "/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _make_directories(self, path: str) -> None:
        made = "/"
        for part in path.strip("/").split("/"):
            if not part:
                continue
            try:
                with self._directory(posixpath.join(made, part)):
                    pass
            except FileNotFoundError:
                with self._directory(made) as parent:
                    os.mkdir(part, 0o755, dir_fd=parent)
                with self._directory(posixpath.join(made, part)) as new, self._directory(made) as parent:
                    self._label(parent, ".", new)
            made = posixpath.join(made, part)

    @staticmethod
    def _refuse_directory(parent: int, name: str, path: str) -> None:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            raise StepFailed(
                f"{path} in the guest is a directory where a file is needed: mend it in the source machine"
            )

    @staticmethod
    def _label(parent: int, name: str, descriptor: int) -> None:
        """Give a new file the label of the one that it replaces, or else of its directory: SELinux' own rule."""
        # This kernel need not know SELinux; the guest's does, and hides what has no label from its daemons.
        for place in (f"/proc/self/fd/{parent}/{name}", f"/proc/self/fd/{parent}/."):
            try:
                label = os.getxattr(place, _LABEL, follow_symlinks=False)
                os.setxattr(descriptor, _LABEL, label)
            except OSError:
                continue  # not there, or a file system without labels
            return

    @staticmethod
    def _owner(parent: int, name: str, mode: int) -> tuple[int, int, int]:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return 0, 0, mode
        kept = stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else mode
        return found.st_uid, found.st_gid, kept
