"""A run judged against what Manila itself does, and what a person and a program read of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.baseline import Baseline
from conformance.names import class_of, module_of
from conformance.outcomes import Outcome, Verdict
from conformance.stages import REQUIRED, Stage, stage_of

FIXTURES = ("setUpClass", "tearDownClass")


@dataclass(frozen=True)
class Report:
    """The names of the tests that were to run, what came of them, and Manila's own results.

    `required` are the stages of which all that Manila passes must pass.
    """

    wanted: frozenset[str]
    outcomes: tuple[Outcome, ...]
    baseline: Baseline
    required: frozenset[Stage] = REQUIRED

    def named(self, verdict: Verdict) -> list[Outcome]:
        """Return the outcomes of one kind, by name."""
        return sorted((one for one in self.outcomes if one.verdict is verdict), key=lambda one: one.name)

    @property
    def missing(self) -> list[str]:
        """The tests that should have run and of which nothing was heard, for no skipped class explains it."""
        heard = {one.name for one in self.outcomes}
        skipped = {class_of(one.name) for one in self.named(Verdict.SKIPPED) if one.name.endswith(FIXTURES)}
        return sorted(name for name in self.wanted - heard if class_of(name) not in skipped)

    @property
    def short_of_manila(self) -> list[str]:
        """Tests that Manila passes and that failed, were skipped or were not heard of here."""
        passed = {one.name for one in self.named(Verdict.PASSED)}
        return sorted((self.wanted & self.baseline.passed) - passed)

    @property
    def required_short(self) -> list[str]:
        """Those among them that are required: any makes a run a failed one."""
        return [name for name in self.short_of_manila if stage_of(module_of(name)) in self.required]

    @property
    def beyond_manila(self) -> list[str]:
        """Tests that pass here and that Manila fails or skips."""
        return [one.name for one in self.named(Verdict.PASSED) if one.name not in self.baseline.passed]

    def as_json(self) -> dict[str, Any]:
        """Return all of it, without the tracebacks."""
        return {
            "counts": _counts(self.outcomes) | {"missing": len(self.missing)},
            "stages": self._stages(),
            "required_but_short_of_manila": self.required_short,
            "short_of_manila": self.short_of_manila,
            "beyond_manila": self.beyond_manila,
            "missing": self.missing,
            "failed": [one.without_details() for one in self.named(Verdict.FAILED)],
            "skipped": [
                one.without_details() | {"manila_skips_it": self.baseline.skips(one.name)}
                for one in self.named(Verdict.SKIPPED)
            ],
            "passed": [one.name for one in self.named(Verdict.PASSED)],
        }

    def _stages(self) -> dict[str, dict[str, int]]:
        rows = {}
        for stage in Stage:
            wanted = {name for name in self.wanted if stage_of(module_of(name)) is stage}
            if not wanted:
                continue
            own = [one for one in self.outcomes if stage_of(module_of(one.name)) is stage]
            rows[f"{stage.value} {stage.name.lower()}"] = {
                **_counts(own),
                "missing": sum(name in wanted for name in self.missing),
                "manila_passes": len(wanted & self.baseline.passed),
                "short_of_manila": sum(name in wanted for name in self.short_of_manila),
            }
        return rows

    def summary(self) -> str:
        """Return a line for each stage and for each module with failures, then the verdict."""
        lines = [f"stage {stage}: " + ", ".join(f"{count} {what}" for what, count in row.items())
                 for stage, row in self._stages().items()]  # fmt: skip
        failed = Counter(module_of(one.name) for one in self.named(Verdict.FAILED))
        lines += [f"{count:4} failed in {module}" for module, count in failed.most_common()]
        verdict = f"{len(self.required_short)} required tests that Manila passes do not pass here"
        return "\n".join([*lines, verdict])

    def failures_by_module(self) -> str:
        """Return every failure with its first error line, a section a module, as Markdown."""
        modules: dict[str, list[Outcome]] = defaultdict(list)
        for one in self.named(Verdict.FAILED):
            modules[module_of(one.name)].append(one)
        sections = []
        for module, failures in sorted(modules.items(), key=lambda item: (stage_of(item[0]), item[0])):
            lines = [f"- `{one.name.removeprefix(module + '.')}`: {one.reason}{self._own(one)}" for one in failures]
            sections.append(f"### {module} (stage {stage_of(module).value}): {len(failures)}\n" + "\n".join(lines))
        return "\n\n".join(sections) + "\n"

    def _own(self, one: Outcome) -> str:
        return " (fails on Manila too)" if one.name in self.baseline.failed else ""


def write(report: Report, directory: Path) -> None:
    """Write shares.json, failures.md (first error lines) and failures.txt (tracebacks and requests)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "shares.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    (directory / "failures.md").write_text(report.failures_by_module())
    texts = (f"{'=' * 100}\n{one.name}\n{one.details}\n" for one in report.named(Verdict.FAILED))
    (directory / "failures.txt").write_text("".join(texts))


def _counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    counts = Counter(one.verdict for one in outcomes)
    return {verdict.value: counts[verdict] for verdict in Verdict}
