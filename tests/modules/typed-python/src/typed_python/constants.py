"""Values for defaults."""

import os

GREETING = "Hello"
TIMES: int = 3
WORDS = ["one", "two"]
HOME = os.environ.get("HOME", "/")

__all__ = ["GREETING", "TIMES", "WORDS"]
