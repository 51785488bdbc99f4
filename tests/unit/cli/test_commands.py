import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.cli.commands import COMMANDS, LazyCommand
from isthmus.cli.main import IsthmusApp, main
from isthmus.control.errors import NotSupported


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_line_of_help_is_the_class_docstring(command: LazyCommand) -> None:
    documentation = inspect.getdoc(command.load()) or ""
    assert documentation.splitlines()[0].rstrip(".") == command.summary


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_prints_its_help(command: LazyCommand, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.name.split(), "--help"]) == 0
    assert f"isthmus {command.name}" in capsys.readouterr().out


def test_help_imports_no_command_and_no_client() -> None:
    code = (
        "import sys; from isthmus.cli.main import main; main(['--help']);"
        "slow = {'openstack', 'keystoneauth1', 'sqlalchemy', 'temporalio', 'rich', 'yaml', 'pydantic'};"
        "sys.exit(', '.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_command_whose_part_is_missing_says_what_to_install() -> None:
    with pytest.raises(NotSupported, match=r"the command 'x' cannot be loaded.*isthmus\[embedded\]"):
        LazyCommand("x", "isthmus.no_such_module:X", "").load()


def test_no_words_show_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(command.name in listed for command in COMMANDS)


def test_words_of_a_group_list_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["endpoint"]) == 2
    answer = capsys.readouterr()
    assert "endpoint network list" in answer.err
    assert "transfer" not in answer.err
    assert not answer.out


def test_an_unknown_word_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly", "--high"]) == 2
    assert "there is no command 'fly --high'" in capsys.readouterr().err


def test_a_missing_option_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["instance", "list"])
    assert ended.value.code == 2


def test_an_error_is_one_line_and_exit_code_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISTHMUS_ENDPOINT", raising=False)
    assert main(["--no-auth", "endpoint", "list"]) == 1
    answer = capsys.readouterr()
    assert answer.err == "isthmus: --no-auth needs the API's address: give --os-endpoint URL\n"


def test_an_api_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-auth", "--os-endpoint", "http://127.0.0.1:1", "endpoint", "list"]) == 1
    answer = capsys.readouterr().err
    assert answer.startswith("isthmus: no answer:")
    assert answer.count("\n") == 1


def test_without_credentials_the_error_says_how_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_CLIENT_CONFIG_FILE", "ISTHMUS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["endpoint", "list"]) == 1
    assert 'eval "$(isthmus env)"' in capsys.readouterr().err


def test_global_options_may_follow_the_command() -> None:
    app = IsthmusApp()
    options, words = app.parser.parse_known_args(["instance", "list", "--endpoint", "a", "--os-cloud", "home"])
    assert options.os_cloud == "home"
    assert words == ["instance", "list", "--endpoint", "a"]
