"""What the tests of a btrfs back end share; each file opens a `site` of its own."""

from collections.abc import Iterator

import pytest
from tests.functional.shares.btrfs_sites import share
from tests.share_serving import ShareSite

from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.facts import ShareFacts


@pytest.fixture
def driver(site: ShareSite) -> BtrfsDriver:
    """Return the site's driver, started."""
    made = site.driver()
    made.start()
    return made


@pytest.fixture
def facts(driver: BtrfsDriver) -> Iterator[ShareFacts]:
    """Yield an NFS share of 1 GiB."""
    made = share()
    driver.create_share(made)
    yield made
    driver.delete_share(made)
