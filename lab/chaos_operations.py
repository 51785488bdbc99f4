"""What small machines go through in a chaos run: executions, deployments, cancels, failbacks, waves, schedules.

Each operation makes its machines, begins what is to be disturbed, tells when it is over and what is wrong then, and
deletes all that it has made.
"""

import shutil
from collections.abc import Iterator, Sequence
from typing import ClassVar

from lab.chaos_ground import Ground, free_disk, reasons_of, running_in, status_of
from lab.rest_user import ENDED


class Operation:
    """What a round does with its machines. `paths` are the executions and deployments under way."""

    kind: ClassVar[str]

    def __init__(self, ground: Ground, names: Sequence[str]) -> None:
        self.ground = ground
        self.names = names
        self.paths: list[str] = []
        self.transfers: dict[str, str] = {}

    def prepare(self) -> None:
        """Make machines and their transfers."""
        for name in self.names:
            self.ground.machine(name)
            self.transfers[name] = self.ground.transfer(name)

    def copy(self) -> None:
        """Bring all replicas up to date, undisturbed."""
        begun = [self.ground.execute(each) for each in self.transfers.values()]
        for path in begun:
            self.ground.completed(path)

    def begin(self) -> None:
        """Begin what is to be disturbed."""
        self.paths = [self.ground.execute(each) for each in self.transfers.values()]

    def go_on(self) -> None:
        """Do what belongs to the operation shortly before the blow."""

    def is_over(self) -> bool:
        """Whether all has ended."""
        return all(status_of(self.ground.look(path)) in ENDED for path in self.paths)

    def going(self) -> list[str]:
        """Return the steps that run now."""
        return [step for path in self.paths for step in running_in(self.ground.look(path))]

    def was_cancelled(self) -> bool:
        """Whether some of it has ended CANCELED, as it was asked to."""
        return False

    def problems(self) -> Iterator[str]:
        """Yield what is not as it should be."""
        for name, path in zip(self.names, self.paths, strict=True):
            shown = self.ground.look(path)
            if status_of(shown) != "COMPLETED":
                yield f"{name}: {status_of(shown)}: {reasons_of(shown)}"
            else:
                yield from self.wrong_bytes(name)

    def wrong_bytes(self, name: str) -> Iterator[str]:
        """Yield how a machine's replica differs."""
        info = self.ground.patiently("GET", f"/transfers/{self.transfers[name]}?include_task_info=true")
        for disk in info["transfer"]["info"][name]["disks"]:
            if found := self.ground.differs(name, self.ground.west / disk["volume_id"]):
                yield f"wrong bytes: {found}"

    def tidy(self) -> None:
        """Delete all through the API, and the machines as their owner."""
        begun = []
        for transfer in self.transfers.values():
            action = self.ground.patiently("POST", f"/transfers/{transfer}/actions", {"delete-disks": None})
            begun.append(f"/transfers/{transfer}/executions/{action['execution']['id']}")
        for path in begun:
            self.ground.completed(path)
        for transfer in self.transfers.values():
            self.ground.patiently("DELETE", f"/transfers/{transfer}", fine=(404,))
        for name in self.names:
            free_disk(self.ground.east / f"{name}.raw")
            shutil.rmtree(self.ground.west / name, ignore_errors=True)


class Executions(Operation):
    """First copies, or increments."""

    kind = "execution"

    def prepare(self) -> None:
        """By lot copy once before, and change the source then."""
        super().prepare()
        if self.ground.lot.random() < 0.5:
            self.copy()
            for name in self.names:
                self.ground.change(name)


class Deployments(Operation):
    """Machines from replicas, on clones or on the replicas themselves."""

    kind = "deployment"

    def prepare(self) -> None:
        """Copy."""
        super().prepare()
        self.copy()

    def begin(self) -> None:
        """Deploy all."""
        clone = self.ground.lot.random() < 0.5
        self.paths = [self.ground.deploy(each, clone=clone) for each in self.transfers.values()]

    def wrong_bytes(self, name: str) -> Iterator[str]:
        """Yield how a machine's disk differs."""
        if found := self.ground.differs(name, self.ground.deployed(name)):
            yield f"wrong bytes: {found}"


class Cancels(Executions):
    """Executions that are cancelled shortly before the blow."""

    kind = "cancel"

    def was_cancelled(self) -> bool:
        """Whether the cancel came in time for one of them."""
        return any(status_of(self.ground.look(path)) == "CANCELED" for path in self.paths)

    def go_on(self) -> None:
        """Cancel; one that has just ended need not be."""
        for path in self.paths:
            self.ground.patiently("POST", f"{path}/actions", {"cancel": None}, fine=(400,))

    def problems(self) -> Iterator[str]:
        """Yield what is not as it should be; a cancelled first copy leaves no replica."""
        for name, path in zip(self.names, self.paths, strict=True):
            shown = self.ground.look(path)
            if status_of(shown) == "COMPLETED":
                yield from self.wrong_bytes(name)
            elif status_of(shown) != "CANCELED":
                yield f"{name}: {status_of(shown)}: {reasons_of(shown)}"


class Failbacks(Deployments):
    """Deployed machines on their way home."""

    kind = "failback"

    def prepare(self) -> None:
        """Deploy, undisturbed, and make the transfers home."""
        super().prepare()
        super().begin()
        for path in self.paths:
            self.ground.completed(path)
        self.away = dict(self.transfers)
        for name, transfer in self.away.items():
            made = self.ground.patiently("POST", f"/transfers/{transfer}/actions", {"failback": {}})
            self.transfers[name] = str(made["transfer"]["id"])

    def begin(self) -> None:
        """Bring all home."""
        Operation.begin(self)

    def wrong_bytes(self, name: str) -> Iterator[str]:
        """Yield how the replica at home differs from the source, which is as it was."""
        info = self.ground.patiently("GET", f"/transfers/{self.transfers[name]}?include_task_info=true")
        for facts in info["transfer"]["info"].values():
            for disk in facts["disks"]:
                if found := self.ground.differs(name, self.ground.east / disk["volume_id"]):
                    yield f"wrong bytes: {found}"

    def tidy(self) -> None:
        """Delete both directions."""
        super().tidy()
        self.transfers = self.away
        super().tidy()


class Waves(Operation):
    """A wave of twice as many machines, two in flight."""

    kind = "wave"
    wave = ""

    def __init__(self, ground: Ground, names: Sequence[str]) -> None:
        super().__init__(ground, [f"{name}{half}" for name in names for half in "ab"])

    def begin(self) -> None:
        """Start it."""
        members = [{"transfer_id": each} for each in self.transfers.values()]
        body = {"name": self.names[0], "max_in_flight": 2, "groups": [{"name": "all", "members": members}]}
        made = self.ground.patiently("POST", "/waves", {"wave": body})["wave"]["id"]
        self.wave = f"/waves/{made}"
        self.ground.patiently("POST", f"{self.wave}/actions", {"start": None})

    def is_over(self) -> bool:
        """Whether the wave has ended."""
        return self.ground.look(self.wave)["status"] in ENDED

    def going(self) -> list[str]:
        """Return how many members are under way."""
        members = [each for group in self.ground.look(self.wave)["groups"] for each in group["members"]]
        return [f"{sum(each['status'] == 'EXECUTING' for each in members)} of {len(members)} members"]

    def problems(self) -> Iterator[str]:
        """Yield what is not as it should be."""
        shown = self.ground.look(self.wave)
        if shown["status"] != "COMPLETED":
            members = [each for group in shown["groups"] for each in group["members"]]
            yield f"the wave is {shown['status']}: {[each['message'] for each in members if each['message']]}"
        for name, transfer in self.transfers.items():
            runs = self.ground.patiently("GET", f"/transfers/{transfer}/executions")["executions"]
            if len(runs) != 1:
                yield f"{name} was executed {len(runs)} times"
            yield from self.wrong_bytes(name)

    def tidy(self) -> None:
        """Delete the wave, too."""
        self.ground.patiently("DELETE", self.wave, fine=(404,))
        super().tidy()


class Schedules(Operation):
    """Transfers that a schedule executes."""

    kind = "schedule"

    def prepare(self) -> None:
        """Schedule each; their clock is set when it begins."""
        super().prepare()
        self.schedules = {
            name: str(
                self.ground.patiently(
                    "POST", f"/transfers/{transfer}/schedules", {"schedule": {"minute": 0, "hour": 0}}
                )["schedule"]["id"]
            )
            for name, transfer in self.transfers.items()
        }

    def begin(self) -> None:
        """Have them be due."""
        for each in self.schedules.values():
            self.ground.begin_again(each)

    def _runs(self, name: str) -> list[str]:
        path = f"/transfers/{self.transfers[name]}/executions"
        return [f"{path}/{each['id']}" for each in self.ground.patiently("GET", path)["executions"]]

    def is_over(self) -> bool:
        """Whether each has fired and what it began has ended."""
        self.paths = [path for name in self.names for path in self._runs(name)]
        return len(self.paths) >= len(self.names) and super().is_over()

    def problems(self) -> Iterator[str]:
        """Yield what is not as it should be; each due time must have had one execution."""
        for name, schedule in self.schedules.items():
            firings, runs = self.ground.firings(schedule), self._runs(name)
            if firings != ["STARTED"] or len(runs) != 1:
                yield f"{name}: fired {firings}, executed {len(runs)} times"
        self.paths = [path for name in self.names for path in self._runs(name)]
        if len(self.paths) == len(self.names):
            yield from super().problems()


KINDS: dict[str, type[Operation]] = {
    each.kind: each for each in (Executions, Deployments, Cancels, Failbacks, Waves, Schedules)
}
