"""Golden texts of failures: what ends the output of a command that failed, in a pipe and on a terminal.

A golden file has the report alone: the lines from the last one that starts with `✘ ` or `Error: ` to the end of the
output. What stood above it is progress, which has tests of its own. Escape sequences are written as `\\e[…m`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.golden import check_golden
from kit.paths import REPO
from kit.terminal import Terminal

GOLDENS = REPO / "tests/blackbox/goldens/failures"
# How many columns the terminal of a golden file has.
COLUMNS = 100
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What a display may write before a line: it goes back to the line's start, or erases what was there.
BEFORE = re.compile(r"^(?:.*\r)?(?:\x1b\[[0-9;?]*[A-Za-ln-z])*")
STARTS = re.compile(r"^(?:✘ |Error: )")
# Colours are the command's own choice.
USUAL = {"NO_COLOR": "", "CLICOLOR_FORCE": ""}


@dataclass(frozen=True)
class Failure:
    """A command that fails. `words` are its arguments, run in the test's folder.

    A string in `document` is written to a file, which `rondel query` reads. `prepare` gets the folder before the
    command runs.
    """

    name: str
    words: tuple[str, ...]
    code: int = 1
    document: str | None = None
    prepare: Callable[[Path], object] | None = None
    env: dict[str, str] = field(default_factory=dict)
    # Pairs of a regular expression and what it becomes, for what varies in this failure alone.
    varies: tuple[tuple[str, str], ...] = ()


def check_failure(rondel, folder: Path, failure: Failure) -> None:
    """Asserts that the failure ends with its golden texts: in a pipe, and on a terminal."""
    if failure.prepare:
        failure.prepare(folder)
    words = list(failure.words)
    if failure.document is not None:
        (folder / "document.graphql").write_text(failure.document)
        words += ["--doc", "document.graphql"]
    piped = rondel.run(*words, cwd=folder, env=USUAL | failure.env)
    assert piped.code == failure.code, f"exit code {piped.code}, not {failure.code}\n{piped.err}"
    check_golden(GOLDENS / f"{failure.name}.pipe.txt", report(piped.err, folder, failure))

    terminal = Terminal(rondel, *words, cwd=folder, columns=COLUMNS, env=USUAL | failure.env)
    code = terminal.end()
    shown = terminal.said.decode(errors="replace").replace("\r\n", "\n")
    assert code == failure.code, f"exit code {code}, not {failure.code}\n{shown}"
    check_golden(GOLDENS / f"{failure.name}.terminal.txt", report(shown, folder, failure))


def report_of(text: str) -> str:
    """The report at the end of the output of a command that failed."""
    lines = [BEFORE.sub("", line) for line in text.split("\n")]
    starts = [at for at, line in enumerate(lines) if STARTS.match(ESCAPE.sub("", line))]
    assert starts, f"there is no report in:\n{text}"
    return "\n".join(lines[starts[-1] :])


def report(text: str, folder: Path, failure: Failure) -> str:
    """The report without what varies from run to run."""
    kept = report_of(text)
    for pattern, replacement in [*VARIES, *failure.varies]:
        kept = re.sub(pattern, replacement, kept)
    kept = kept.replace(str(folder), "FOLDER").replace("\x1b", "\\e")
    return "\n".join(line.rstrip() for line in kept.rstrip("\n").split("\n")) + "\n"


# What varies in every failure: digests, ports of this machine, times.
VARIES = (
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"\b127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\b\d+(?:\.\d+)?(?:µs|ms|s)\b", "TIME"),
)
