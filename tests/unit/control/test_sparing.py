import importlib
import sys
from pathlib import Path

import pytest

from isthmus.control.sparing import without


def test_a_package_is_hidden_only_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_for_this_test.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with without("only_for_this_test"), pytest.raises(ImportError):
        importlib.import_module("only_for_this_test")
    importlib.import_module("only_for_this_test")
    with without("only_for_this_test"):
        importlib.import_module("only_for_this_test")
    assert sys.modules.pop("only_for_this_test").__file__


def test_a_package_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), without("only_for_this_test"):
        raise ZeroDivisionError
    assert "only_for_this_test" not in sys.modules
