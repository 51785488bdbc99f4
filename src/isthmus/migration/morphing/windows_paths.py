"""Paths of a Windows guest: NTFS keeps the case of names, Windows ignores it."""

from isthmus.migration.morphing.contract import GuestAccess


def find_path(guest: GuestAccess, path: str) -> str | None:
    """Return the path as it is written on the disk, None if there is none."""
    found = ""
    for part in path.strip("/").split("/"):
        names = guest.list_directory(found or "/")
        name = part if part in names else next((each for each in names if each.lower() == part.lower()), None)
        if name is None:
            return None
        found = f"{found}/{name}"
    return found


def place(guest: GuestAccess, path: str) -> str:
    """Return where a path is to be written: as far as it is there, as it is written on the disk."""
    known, rest = path.rstrip("/"), ""
    while known:
        found = find_path(guest, known)
        if found is not None:
            return f"{found}{rest}"
        known, _, name = known.rpartition("/")
        rest = f"/{name}{rest}"
    return path
