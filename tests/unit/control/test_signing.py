"""Signatures: made once, checked anywhere."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isthmus.control.errors import InvalidInput, Unavailable
from isthmus.control.signing import Signer, key_id_of, verify

DOCUMENT = b'{"instance": "web"}\n'


def test_a_signature_fits_its_document_and_key_alone(tmp_path: Path) -> None:
    signer, other = Signer(tmp_path / "a.key"), Signer(tmp_path / "b.key")
    signature = signer.sign(DOCUMENT)
    verify(signer.public_key, DOCUMENT, f"{signature}\n")
    for key, document, text in (
        (other.public_key, DOCUMENT, signature),
        (signer.public_key, DOCUMENT + b" ", signature),
        (signer.public_key, DOCUMENT, other.sign(DOCUMENT)),
        (signer.public_key, DOCUMENT, "not base64"),
        (signer.public_key, DOCUMENT, ""),
    ):
        with pytest.raises(InvalidInput, match="does not fit"):
            verify(key, document, text)


def test_the_key_is_made_once_is_the_owners_alone_and_found_again(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "report.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Signer(file).public_key, range(8)))
    assert len(keys) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert key_id_of(keys.pop()) == Signer(file).key_id


def test_a_file_that_holds_no_key_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "report.key"
    file.write_text("precious")
    with pytest.raises(Unavailable, match=r"report\.key"):
        Signer(file).sign(DOCUMENT)
    assert file.read_text() == "precious"


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="PEM"):
        verify(text, DOCUMENT, "")
