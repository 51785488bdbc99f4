"""The btrfs section that docs/shares.md shows is one that the driver takes, and its table names every option."""

import configparser
import re
from pathlib import Path

from isthmus.shares.drivers.btrfs import options
from isthmus.shares.drivers.btrfs.options import read_options

DOCUMENT = (Path(__file__).parents[3] / "docs" / "shares.md").read_text()


def test_the_documented_section_is_taken() -> None:
    (text,) = [block for block in re.findall(r"```\n(.*?)```", DOCUMENT, re.DOTALL) if "[local]" in block]
    documented = configparser.ConfigParser()
    documented.read_string(text)
    found = read_options("local", documented["local"])
    assert found.nfs
    assert found.smb


def test_every_option_is_documented() -> None:
    source = Path(options.__file__).read_text()
    known = set(re.findall(r'section\.\w+\(\s*"(\w+)"', source))
    assert len(known) > 15
    assert [option for option in sorted(known) if f"`{option}`" not in DOCUMENT] == []
