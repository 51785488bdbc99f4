"""Whether a guest can be morphed, told from its name alone: before anything of it is read."""

from stevedore import ExtensionManager

MORPHERS = "isthmus.migration.morphers"


def supports(distribution: str, version: str) -> bool | None:
    """Return whether some morpher takes a release of os-release's ID and VERSION_ID; None if it is not known which."""
    if not distribution:
        return None
    verdicts = [each.plugin.supports(distribution, version) for each in ExtensionManager(MORPHERS)]
    return any(verdicts)
