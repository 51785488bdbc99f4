"""Binders by name, from the entry points `isthmus.networking.binders`."""

from oslo_config.cfg import ConfigOpts
from stevedore import ExtensionManager, extension

from isthmus.control.errors import InvalidInput
from isthmus.networking.binding.contract import Binder

NAMESPACE = "isthmus.networking.binders"


class Binders:
    """The installed binders; each is made when first used."""

    def __init__(self, conf: ConfigOpts) -> None:
        self._conf = conf
        self._found: ExtensionManager[Binder] = extension.ExtensionManager(NAMESPACE)
        self._made: dict[str, Binder] = {}

    @property
    def default(self) -> str:
        """The binder's name where a wish names none."""
        return str(self._conf.network_agent.binder)

    def get(self, name: str | None = None) -> Binder:
        """Return a binder; `InvalidInput` if none of this name is installed."""
        wanted = name or self.default
        if wanted not in self._found.names():
            raise InvalidInput(f"there is no binder {wanted}; there are {', '.join(sorted(self._found.names()))}")
        if wanted not in self._made:
            self._made[wanted] = self._found[wanted].plugin(self._conf)
        return self._made[wanted]

    def in_use(self) -> tuple[Binder, ...]:
        """Return the default binder and all that were used."""
        self.get()
        return tuple(self._made.values())
