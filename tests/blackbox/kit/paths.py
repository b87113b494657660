"""Where the suite finds the binary, base images, client libraries and examples."""

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("RONDEL_BIN", REPO / "target/debug/rondel"))
IMAGES = Path(os.environ.get("RONDEL_IMAGES", REPO / ".state/images"))
CLIENTS = Path(os.environ.get("RONDEL_CLIENTS", REPO / ".state/clients"))
EXAMPLES = REPO / "examples"
GREETER = EXAMPLES / "greeter"
ROOT = os.geteuid() == 0
