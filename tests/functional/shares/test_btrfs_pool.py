"""The btrfs back end's own side: half-made things, hostile trees, lost and full pools, the keeper of the mounts."""

import errno
import itertools
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.functional.shares.btrfs_sites import RW, allow, open_site, share, snapshot_of
from tests.share_serving import ShareSite

from isthmus.control.errors import InvalidInput, IsthmusError
from isthmus.embedded import share_servers
from isthmus.shares.drivers.btrfs import mounts
from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.btrfs.pool import SHARES, Pool
from isthmus.shares.drivers.contract import BackendFull, BackendUnavailable, DataWouldBeLost
from isthmus.shares.drivers.facts import ShareFacts

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def site() -> Iterator[ShareSite]:
    with open_site() as made:
        made.driver().start()
        yield made


@pytest.fixture
def driver(site: ShareSite) -> BtrfsDriver:
    return site.driver()


def pool(site: ShareSite) -> Path:
    return site.site.layout.of("shares") / "pool" / "pool"


def place(site: ShareSite, facts: ShareFacts) -> Path:
    return pool(site) / "shares" / f"share-{facts.instance_id}"


@contextmanager
def opened(site: ShareSite) -> Iterator[Pool]:
    descriptor = os.open(pool(site), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Pool(pool(site), descriptor)
    finally:
        os.close(descriptor)


def limit(site: ShareSite, facts: ShareFacts, size: int) -> None:
    with opened(site) as found:
        found.limit(f"share-{facts.instance_id}", size)


def limit_of(site: ShareSite, facts: ShareFacts) -> int | None:
    with opened(site) as found:
        return found.limit_of(f"share-{facts.instance_id}")


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that a client could tell of a tree."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in [*directories, *files, "."]:
            path = Path(directory) / name
            facts = path.lstat()
            contents: object = None
            if stat.S_ISREG(facts.st_mode):
                contents = path.read_bytes()
            elif stat.S_ISLNK(facts.st_mode):
                contents = path.readlink()
            attributes = {each: os.getxattr(path, each, follow_symlinks=False) for each in xattrs(path)}
            links = facts.st_nlink if stat.S_ISREG(facts.st_mode) else None
            times = None if stat.S_ISLNK(facts.st_mode) else facts.st_mtime_ns
            what = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_rdev, links, times, contents, attributes)
            found[os.path.relpath(path, root)] = what
    return found


def xattrs(path: Path) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def test_what_was_half_made_is_made_anew(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    making = pool(site) / "shares" / f"making-{facts.instance_id}"
    subprocess.run(["btrfs", "subvolume", "create", str(making)], check=True, capture_output=True)
    (making / "rubbish").write_text("of a killed manager")
    driver.create_share(facts)
    assert not making.exists()
    assert list(place(site, facts).iterdir()) == []
    driver.delete_share(facts)


def test_what_was_half_made_is_removed(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    making = pool(site) / "shares" / f"making-{facts.instance_id}"
    subprocess.run(["btrfs", "subvolume", "create", str(making)], check=True, capture_output=True)
    driver.delete_share(facts)
    assert not making.exists()


def test_nothing_in_a_share_is_a_way_onto_the_machine(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    driver.create_share(facts)
    site.start("nfs")
    allow(driver, facts, ("192.0.2.1", RW))
    shown = str(site.site.layout.of("shares") / "pool" / "mounts" / f"share-{facts.instance_id}")
    lines = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in (shown, str(pool(site))):
        (options,) = (words[5].split(",") for words in lines if words[4] == point)
        assert {"nosuid", "nodev", "noexec"} <= set(options)
    # And who is not root cannot even look.
    assert stat.S_IMODE((pool(site) / "shares").stat().st_mode) == 0o700
    driver.delete_share(facts)


def test_a_revert_restores_every_kind_of_thing_and_follows_no_link(
    site: ShareSite, driver: BtrfsDriver, tmp_path: Path
) -> None:
    facts = share()
    driver.create_share(facts)
    root = place(site, facts)
    make_tree(root)
    snapshot = snapshot_of(facts)
    driver.create_snapshot(snapshot)
    before = tree(pool(site) / "snapshots" / f"snapshot-{snapshot.instance_id}")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    spoil_tree(root, outside)
    driver.revert_share(facts, snapshot)
    assert tree(root) == before
    assert (outside / "precious").read_text() == "stays"
    assert [path.name for path in outside.iterdir()] == ["precious"]
    driver.delete_snapshot(snapshot)
    driver.delete_share(facts)


def make_tree(root: Path) -> None:
    for number in range(20):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / "file").write_bytes(os.urandom(70000))
    (root / "one").write_text("one file")
    (root / "d1" / "two").hardlink_to(root / "one")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe")
    (root / "pipe").chmod(0o666)
    os.mknod(root / "device", 0o600 | stat.S_IFBLK, os.makedev(7, 0))
    os.setxattr(root / "d2", "user.kept", b"value")
    os.chown(root / "d3", 1234, 4321)
    (root / "d3" / "file").chmod(0o4711)
    (root / "sparse").write_bytes(b"")
    os.truncate(root / "sparse", 100 * MIB)


def spoil_tree(root: Path, outside: Path) -> None:
    (root / "one").write_text("changed through one of its names")
    (root / "d1" / "two").unlink()
    (root / "d4" / "file").unlink()
    (root / "d4" / "file").symlink_to(outside / "precious")
    (root / "d5" / "file").unlink()
    (root / "d5").rmdir()
    (root / "d5").symlink_to(outside)
    os.removexattr(root / "d2", "user.kept")
    os.setxattr(root / "d2", "user.other", b"value")
    (root / "d3" / "file").chmod(0o600)
    os.chown(root / "d3", 0, 0)
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "pipe").unlink()
    (root / "device").unlink()
    (root / "device").write_text("a file now")
    (root / "d6").rename(root / "d7" / "d6")
    os.truncate(root / "sparse", 5)
    deep = os.open(root, os.O_RDONLY)
    for _ in range(3000):  # deeper than any path can name, and than files may be open
        os.mkdir("deep", dir_fd=deep)
        below = os.open("deep", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)


def test_a_revert_while_clients_write_ends(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    driver.create_share(facts)
    root = place(site, facts)
    make_tree(root)
    snapshot = snapshot_of(facts)
    driver.create_snapshot(snapshot)
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            (root / "busy").write_bytes(b"busy" * 1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        driver.revert_share(facts, snapshot)
    finally:
        ended.set()
        writer.join()
    driver.revert_share(facts, snapshot)
    assert not (root / "busy").exists()
    driver.delete_snapshot(snapshot)
    driver.delete_share(facts)


def fill(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(5000):
            file.write(bytes(range(256)) * 4096)
            if file.tell() % (256 * MIB) == 0:
                os.fsync(file.fileno())


def fill_up(path: Path) -> None:
    """Give a file room until the share has none left."""
    with path.open("wb") as file:
        for piece in (64 * MIB, MIB, 4096):
            with pytest.raises(OSError, match="quota"):
                grow(file.fileno(), piece)


def grow(descriptor: int, piece: int) -> None:
    for size in itertools.count(os.fstat(descriptor).st_size, piece):
        os.posix_fallocate(descriptor, size, piece)


def test_a_full_share_is_reverted_and_has_its_limit_again(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    driver.create_share(facts)
    root = place(site, facts)
    for name in ("later", "first"):  # what lies in a directory is seen to from the youngest to the oldest
        (root / name).mkdir()
    for number in range(200):
        (root / "first" / str(number)).write_bytes(b"kept" * 1000)
    before = tree(root / "first")
    snapshot = snapshot_of(facts)
    driver.create_snapshot(snapshot)
    for path in (root / "first").iterdir():
        path.unlink()
    os.sync()
    fill_up(root / "later" / "full")

    driver.revert_share(facts, snapshot)
    assert tree(root / "first") == before
    assert list((root / "later").iterdir()) == []
    assert limit_of(site, facts) == GIB
    with pytest.raises(OSError, match="quota"), (root / "more").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, GIB)
    driver.delete_snapshot(snapshot)
    driver.delete_share(facts)


def test_a_shrinking_that_was_killed_before_it_counted_is_no_success(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share(size_gib=2)
    driver.create_share(facts)
    for number in range(17):
        (place(site, facts) / str(number)).write_bytes(bytes(64 * MIB))
    limit(site, facts, GIB)

    with pytest.raises(DataWouldBeLost, match=facts.instance_id):
        driver.shrink_share(facts, 1)
    (place(site, facts) / "more").write_bytes(bytes(MIB))

    for number in range(17):
        (place(site, facts) / str(number)).unlink()
    limit(site, facts, GIB)
    driver.shrink_share(facts, 1)
    assert limit_of(site, facts) == GIB
    driver.delete_share(facts)


def test_a_full_pool_is_told_as_one(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share(size_gib=4)
    driver.create_share(facts)
    free = driver.report().pools[0].free_gib
    assert free
    with pytest.raises(OSError, match=r"No space left|quota"):
        fill(place(site, facts) / "filler")
    refused = None
    for _ in range(2000):  # its metadata has a little room left
        try:
            driver.create_share(share())
        except BackendFull as error:
            refused = error
            break
    assert refused
    assert "full" in refused.message or "promised" in refused.message
    (place(site, facts) / "filler").unlink()


def test_a_pool_that_became_read_only_is_told_and_comes_back(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    driver.create_share(facts)
    subprocess.run(["mount", "-o", "remount,ro", str(pool(site))], check=True)
    report = driver.report()
    assert not report.answers
    assert "ead-only" in (report.trouble or "")
    with pytest.raises(BackendUnavailable, match=facts.instance_id):
        driver.extend_share(facts, 2)
    subprocess.run(["mount", "-o", "remount,rw", str(pool(site))], check=True)
    driver.extend_share(facts, 2)
    driver.delete_share(facts)


def test_another_file_system_is_not_taken_for_the_pool(site: ShareSite, driver: BtrfsDriver) -> None:
    facts = share()
    driver.create_share(facts)
    image = site.site.layout.of("shares") / "pool.img"
    mounts.release_below(pool(site).parent)
    image.rename(image.with_suffix(".kept"))
    with pytest.raises(BackendUnavailable, match="not there"):
        driver.start()
    mounts.make_image(image, 1)
    with pytest.raises(BackendUnavailable, match="was"):
        driver.start()
    mounts.release_below(pool(site).parent)
    image.with_suffix(".kept").rename(image)
    driver.start()
    assert place(site, facts).exists()
    driver.delete_share(facts)


def test_a_directory_that_is_not_on_btrfs_is_unavailable(site: ShareSite, tmp_path: Path) -> None:
    options = site.options(directory=str(tmp_path / "elsewhere"), state_dir=str(tmp_path / "state"))
    del options["image"]
    with pytest.raises(BackendUnavailable, match="not there"):
        BtrfsDriver("local", options).start()
    try:
        (tmp_path / "elsewhere").mkdir()
        with pytest.raises(BackendUnavailable, match="btrfs"):
            BtrfsDriver("local", options).start()
    finally:
        mounts.release_below(tmp_path)


def test_a_directory_on_btrfs_is_a_pool_like_any_other(site: ShareSite, tmp_path: Path) -> None:
    home = pool(site) / "home"
    home.mkdir()
    options = site.options(directory=str(home), state_dir=str(tmp_path / "state"))
    del options["image"]
    driver = BtrfsDriver("other", options)
    driver.start()
    try:
        facts = share()
        driver.create_share(facts)
        assert (home / "shares" / f"share-{facts.instance_id}").is_dir()
        driver.delete_share(facts)
    finally:
        driver.release()


@pytest.mark.parametrize(
    "name", ["../x", "/x", ".", "..", "a/b", "a b", "-x", "global", "IPC$", "share-1", "x" * 81, "é", 'a"b', "a\nb"]
)
def test_a_mount_point_name_cannot_leave_its_place(site: ShareSite, driver: BtrfsDriver, name: str) -> None:
    facts = replace(share(), mount_point_name=name)
    with pytest.raises(InvalidInput):
        driver.create_share(facts)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_gib", "many"),
        ("image_gib", "0"),
        ("image", "relative"),
        ("state_dir", '/a"b'),
        ("nfs_port", "70000"),
        ("nfs_squash", "some"),
        ("nfs_address", "a b"),
        ("share_mode", "999"),
        ("thin_provisioning", "perhaps"),
        ("max_over_subscription_ratio", "0.5"),
    ],
)
def test_a_wrong_option_is_named(site: ShareSite, option: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"`{option}` of back end local"):
        site.driver(**{option: value})


def test_the_keeper_mounts_outlives_a_kill_and_unmounts(site: ShareSite) -> None:
    driver = site.driver()
    facts = share()
    driver.create_share(facts)
    site.start("nfs")
    allow(driver, facts, ("192.0.2.1", RW))
    site.stop(("nfs",))
    own = site.site.layout.of("shares")
    share_servers.release(site.site.layout)
    assert not [point for point in mounts.mount_points() if Path(point).is_relative_to(own)]
    ready = site.site.layout.ready_file("share-storage")
    for _ in range(2):
        site.start("share-storage")
        assert {str(own / "pool" / "pool"), str(own / "pool" / "mounts" / f"share-{facts.instance_id}")} <= (
            mounts.mount_points()
        )
        site.kill("share-storage")
        ready.unlink()
    site.start("share-storage")
    process = site.processes.pop("share-storage")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not [point for point in mounts.mount_points() if Path(point).is_relative_to(own)]
    assert str(own) not in subprocess.run(["losetup", "--list"], check=True, capture_output=True, text=True).stdout


def test_shares_that_are_deleted_while_all_are_shown_again_trouble_nothing(
    site: ShareSite, driver: BtrfsDriver
) -> None:
    names = [driver_shown(site, driver) for _ in range(25)]
    storage, ended, troubles = driver._storage, threading.Event(), []

    def show_again() -> None:
        while not ended.is_set():
            try:
                storage.show_served()
            except IsthmusError as error:
                troubles.append(error.message)

    showing = threading.Thread(target=show_again)
    showing.start()
    try:
        for facts in names:
            with storage.pool("the pool") as found:
                storage.hide(found, f"share-{facts.instance_id}")
                found.destroy("shares", f"share-{facts.instance_id}")
    finally:
        ended.set()
        showing.join()
    assert troubles == []
    with opened(site) as found:
        assert found.served() == ()


@pytest.mark.parametrize("gone", [errno.ENOENT, errno.ENODEV])
def test_a_share_that_goes_away_while_promises_are_counted_promises_nothing(
    site: ShareSite, driver: BtrfsDriver, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """The kernel removes a group at any moment: before its file is opened, or between that and the reading."""
    staying, going = share("NFS"), share("NFS")
    driver.create_share(staying)
    driver.create_share(going)
    with opened(site) as pool:
        before = pool.promised()
        group = f"0_{pool.facts(SHARES, f'share-{going.instance_id}').tree_id}"
        real = Path.read_text

        def read_text(path: Path, *arguments: Any, **options: Any) -> str:
            if path.parent.name == group:
                raise OSError(gone, os.strerror(gone))
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "read_text", read_text)
        assert pool.promised() == before - (going.size_gib << 30)
        monkeypatch.undo()
    driver.delete_share(staying)
    driver.delete_share(going)


def driver_shown(site: ShareSite, driver: BtrfsDriver) -> ShareFacts:
    facts = share(size_gib=1)
    driver.create_share(facts)
    with opened(site) as found:
        driver._storage.show(found, "shares", f"share-{facts.instance_id}")
    return facts
