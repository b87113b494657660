"""Python runs this file before anything else: the program beside it serves the call, and no library is imported."""

import os
import sys
from pathlib import Path

if "DAGGER_SESSION_PORT" in os.environ:
    sys.path.insert(0, str(Path(__file__).parent))
    code = 0
    try:
        import program

        program.serve()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
