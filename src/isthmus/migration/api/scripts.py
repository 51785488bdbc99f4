"""User scripts: Coriolis' short form (one text) and long form (texts with phases) become the long one."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from isthmus.migration.model import ScriptPhase

OsType = Literal["linux", "windows", "bsd", "osx", "solaris"]


class UserScript(BaseModel):
    """One script and when it runs."""

    model_config = ConfigDict(extra="forbid")

    phase: ScriptPhase = ScriptPhase.POST_OS_MOUNT
    payload: Annotated[str, StringConstraints(strict=True, pattern=r"\S")]


class UserScripts(BaseModel):
    """Scripts by OS type for all instances, and by instance, which win over those."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    everywhere: dict[OsType, list[UserScript]] = {}
    instances: dict[str, list[UserScript]] = {}

    def as_stored(self) -> dict[str, Any]:
        """Return Coriolis' form, which is also what rows and workflows hold."""
        whole = self.model_dump(mode="json")
        return {"global": whole["everywhere"], "instances": whole["instances"]}


def normalise_scripts(value: object) -> object:
    """Return what `UserScripts` accepts: `global` renamed, short forms made long, Linux line ends made Linux'."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    rest = {key: part for key, part in value.items() if key not in {"global", "instances"}}
    return {
        **rest,
        "everywhere": {
            os_type: _long_form(scripts, linux_ends=os_type == "linux")
            for os_type, scripts in _entries(value.get("global"))
        },
        "instances": {
            instance: _long_form(scripts, linux_ends=True) for instance, scripts in _entries(value.get("instances"))
        },
    }


def _entries(part: object) -> Any:
    if part is None:
        return ()
    if not isinstance(part, dict):
        raise ValueError("global must be an object by OS type, instances one by instance")  # noqa: TRY004 - pydantic's
    return part.items()


def _long_form(scripts: object, *, linux_ends: bool) -> object:
    if scripts is None:
        return []
    if isinstance(scripts, str):
        scripts = [{"payload": scripts}]
    if not isinstance(scripts, list):
        return scripts
    return [_script(each, linux_ends=linux_ends) for each in scripts]


def _script(script: object, *, linux_ends: bool) -> object:
    if not isinstance(script, dict):
        return script
    payload, phase = script.get("payload"), script.get("phase") or ScriptPhase.POST_OS_MOUNT
    if linux_ends and isinstance(payload, str):
        payload = payload.replace("\r\n", "\n").replace("\n\r", "\n")
    return {**script, "phase": phase, "payload": payload}
