"""A password that an endpoint was given is nowhere but, encrypted, in Barbican: not in any file, not in any argv."""

import psutil
from tests.bad_input_world import PASSWORD, World, files_with, why


def _argv_with(wanted: str) -> list[str]:
    """Return the command lines on this machine that hold a text."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if wanted in " ".join(process.info["cmdline"] or ())
    ]


def test_a_password_is_in_no_file_of_the_control_plane_and_in_no_argv(world: World) -> None:
    # Through all parts, a failing step with its events and an unforeseen key in the details among them.
    transfer = world.transfer("busy")
    execution = world.execute(transfer)
    seen = []
    while world.user.made("GET", execution)["execution"]["status"] == "RUNNING":
        seen += _argv_with(PASSWORD)
    assert seen == []
    assert world.user.ended(execution, "execution")["status"] == "COMPLETED"
    assert PASSWORD not in why(world.executed(world.transfer("vast")))
    wrong = world.endpoint("wrong", {**world.east_connection, "username": PASSWORD})
    world.user.made("POST", f"/endpoints/{wrong}/actions", {"validate-connection": None})
    world.user.fault(
        400,
        "PUT",
        f"/endpoints/{wrong}",
        {"endpoint": {"connection_info": {"uri": PASSWORD, "tls_key": [PASSWORD]}}},
    )
    world.given_up(transfer)

    state = world.plane.state_dir
    assert files_with(state, PASSWORD) == []
    # The search can find: the transfer's id is in the database's files, the histories and the logs.
    found = {path.relative_to(state).parts[0] for path in files_with(state, transfer)}
    assert {"mariadb", "temporal"} <= found
    assert world.leftovers() == []
