"""A short sample of `scripts/chaos`: a kill, damaged layers, blobs and an index, and for root a
full disk.
"""

import os
import subprocess
import sys

from kit import BINARY, IMAGES, REPO

ROUNDS = os.environ.get("RONDEL_CHAOS_ROUNDS", "5")


def test_no_mishap_gives_a_wrong_answer():
    environment = {**os.environ, "RONDEL_BIN": str(BINARY), "RONDEL_IMAGES": str(IMAGES)}
    words = [sys.executable, REPO / "scripts/chaos", "--rounds", ROUNDS, "--seed", "9"]
    done = subprocess.run(words, text=True, capture_output=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ROUNDS} rounds, 0 problems" in done.stdout
