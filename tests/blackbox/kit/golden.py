"""Golden files: text that a test has to produce again."""

import os
from pathlib import Path


def check_golden(path: Path, text: str) -> None:
    """The text is that of a golden file. With `UPDATE_GOLDENS=1` in the environment the file is written instead."""
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text)
    golden = path.read_text() if path.exists() else ""
    assert text.splitlines() == golden.splitlines(), f"`{path}` differs; `UPDATE_GOLDENS=1` writes it anew"
