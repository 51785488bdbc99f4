"""The service's own session with Keystone: kept for a while, one for each configuration. Nothing is sent here."""

from pathlib import Path

from oslo_config.cfg import ConfigOpts

from isthmus.control.configuration import load
from isthmus.control.identity import KEPT_SECONDS, _Kept, caller_session, service_session


def _conf(directory: Path, name: str = "one") -> ConfigOpts:
    file = directory / f"{name}.conf"
    file.write_text(
        "[service_credentials]\nauth_type = password\nauth_url = http://127.0.0.1:1/v3\n"
        f"username = {name}\npassword = x\nproject_name = service\n"
    )
    return load(["--config-file", str(file)])


def test_one_session_serves_a_configuration_until_it_is_old(tmp_path: Path) -> None:
    now = [10.0]
    kept = _Kept(lambda: now[0])
    conf = _conf(tmp_path)
    first = kept.get(conf)
    now[0] += KEPT_SECONDS - 1
    assert kept.get(conf) is first
    now[0] += 1
    assert kept.get(conf) is not first


def test_two_configurations_have_two_sessions(tmp_path: Path) -> None:
    one, other = _conf(tmp_path, "one"), _conf(tmp_path, "other")
    assert service_session(one) is service_session(one)
    assert service_session(one) is not service_session(other)


def test_a_callers_session_is_no_other_callers(tmp_path: Path) -> None:
    conf = _conf(tmp_path)
    mine, yours = caller_session(conf, "my token", "p"), caller_session(conf, "your token", "p")
    assert mine.get_token() == "my token"
    assert yours.get_token() == "your token"
