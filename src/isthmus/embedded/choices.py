"""What a start was asked for with `--with` and `--without` holds for later starts, too: a file that is there or not."""

from dataclasses import dataclass

from isthmus.embedded.layout import Layout


@dataclass(frozen=True)
class Choice:
    """One feature that a control plane has or has not; at first it has not. Its mark is a file in its room."""

    room: str
    mark: str

    def choose(self, layout: Layout, *, wanted: bool | None) -> None:
        """Have the feature, or do without, from now on; None keeps what was chosen last."""
        mark = layout.of(self.room) / self.mark
        if wanted is True:
            mark.touch()
        elif wanted is False:
            mark.unlink(missing_ok=True)

    def is_chosen(self, layout: Layout) -> bool:
        """Say whether this control plane has it."""
        return (layout.of(self.room) / self.mark).exists()
