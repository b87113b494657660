"""Runs one function for an entrypoint: `once.py NAME ARGUMENTS` prints its result as JSON.

The process speaks for the module that the scripts belong to, so the engine takes IDs and types as that module means them.
"""

import json
import sys

import comments
import runtime


def once(name, given):
    module = comments.read()
    done = runtime.run(module, name, given)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)
    print(json.dumps(runtime.result(module.functions[name]["returns"], done.stdout)), end="")


if __name__ == "__main__":
    once(sys.argv[1], json.loads(sys.argv[2]))
