"""The native pump under the compiler's sanitizers: `python -m lab.sanitized`, or `make sanitize`.

Builds pump.c with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer, and runs the tests of the
disk engine with each in the place of the module that is installed. A finding ends the run with a non-zero status.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

MODULE = "isthmus.migration.disks.pump"
SOURCE = Path("src") / Path(*MODULE.split(".")).with_suffix(".c")
TESTS = [f"tests/functional/disks/test_{name}.py" for name in ("pump", "copy", "garbled")]
KINDS = {
    "address,undefined": {
        "libraries": ("libasan.so", "libubsan.so"),
        "options": {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"},
    },
    "thread": {"libraries": ("libtsan.so",), "options": {"TSAN_OPTIONS": "halt_on_error=1:exitcode=66"}},
}
"""Leaks are not looked for: the interpreter keeps what it has until its end."""


def main() -> int:
    """Run all; the status of the first that fails."""
    if len(sys.argv) > 1:
        return run_tests(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="sanitized-") as name:
        for kind, facts in KINDS.items():
            library = Path(name) / f"pump-{kind.partition(',')[0]}.so"
            build(kind, library)
            found = [output("gcc", f"-print-file-name={each}") for each in facts["libraries"]]
            environment = {**os.environ, **facts["options"], "LD_PRELOAD": ":".join(found)}  # type: ignore[dict-item]
            print(f"sanitize: {kind}", flush=True)
            done = subprocess.run([sys.executable, "-m", "lab.sanitized", str(library)], env=environment, check=False)
            if done.returncode:
                return done.returncode
    return 0


def build(kind: str, library: Path) -> None:
    """Compile the module with this sanitizer."""
    include = f"-I{sysconfig.get_paths()['include']}"
    flags = ["-std=gnu11", "-g", "-O1", "-fno-omit-frame-pointer", f"-fsanitize={kind}", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, include, str(SOURCE), "-o", str(library), "-lnbd", "-lpthread"], check=True)


def output(*words: str) -> str:
    """What a program prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def run_tests(library: Path) -> int:
    """The tests, in this process, with `library` as the pump; the servers that they start do without the sanitizer."""
    os.environ.pop("LD_PRELOAD", None)
    spec = importlib.util.spec_from_file_location(MODULE, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[MODULE] = module
    import pytest  # noqa: PLC0415 - only here, with the sanitizer's runtime loaded before all

    return int(pytest.main(["-q", "-p", "no:cacheprovider", *TESTS]))


if __name__ == "__main__":
    sys.exit(main())
