"""Slugs: titles as parts of addresses."""

import re
import unicodedata


def slug(title: str) -> str:
    """The title in lower-case letters and digits, with hyphens between the words."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
