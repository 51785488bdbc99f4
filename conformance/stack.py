"""The stack under test: a control plane of its own, with the back ends of a subject, started by `isthmus up`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.control_plane import ControlPlane
from lab.share_access import smb_account

from conformance.back_ends import OPTION, configuration
from conformance.cloud import Cloud, cloud_of, keystone
from conformance.subjects import Terms

FEWEST_ROUNDS = 4


@contextmanager
def own_stack(state_dir: Path | None, work: Path, service_type: str, terms: Terms, *, keep: bool) -> Iterator[Cloud]:
    """Start a control plane and give its administrator's cloud; end it afterwards, unless it is to be kept.

    `state_dir` is used again if a control plane was there before; without one it is a new directory, removed at the
    end. The back ends' configuration is written below `work`. Raises RuntimeError with what `isthmus up` said.
    """
    options: tuple[str, ...] = ()
    if terms.has_own_configuration:
        backends = (work / "shares.conf").resolve()
        backends.write_text(configuration())
        options = (OPTION, str(backends))
    plane = ControlPlane(state_dir and state_dir.resolve(), only=terms.parts, options=options)
    with ExitStack() as users:
        try:
            plane.start()
            cloud = cloud_of(plane.admin_environment, service_type)
            hash_passwords_quickly(plane, cloud)
            for name in terms.samba_users:
                users.enter_context(smb_account(plane, name))
            yield cloud
        finally:
            if keep:
                plane.leave()
                print(f"the stack stays in {plane.state_dir}: see `isthmus env`, end it with `isthmus down`")
            else:
                plane.close()


def hash_passwords_quickly(plane: ControlPlane, cloud: Cloud) -> None:
    """Let Keystone take its fewest rounds of bcrypt, until its next start.

    Every class of the suite makes users and logs them in; at Keystone's default each costs a quarter of a second of
    CPU, which is more than all that is under test. The administrator's own password is hashed again too.
    """
    configuration = plane.state_dir / "keystone" / "keystone.conf"
    text = configuration.read_text()
    configuration.write_text(text.replace("[identity]", f"[identity]\npassword_hash_rounds = {FEWEST_ROUNDS}", 1))
    plane.kill("keystone")
    plane.wait_ready()
    rest = keystone(cloud)
    rest.patch(f"/users/{rest.get_user_id()}", json={"user": {"password": cloud.password}})
