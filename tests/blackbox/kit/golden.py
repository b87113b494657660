"""Golden files: text that a test has to produce again."""

import os
from pathlib import Path


def check_golden(path: Path, text: str) -> None:
    """Asserts that `text` is in a golden file. `UPDATE_GOLDENS=1` writes the file instead."""
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text)
    golden = path.read_text() if path.exists() else ""
    assert text.splitlines() == golden.splitlines(), f"`{path}` differs; `UPDATE_GOLDENS=1` writes it anew"
