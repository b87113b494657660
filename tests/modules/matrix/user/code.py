"""The user's code of every cell: `code.py` serves a call, `code.py types [OUTPUT]` registers the types, `code.py seen [OUTPUT]`
says which schema version it sees, `code.py document OUTPUT` writes that into a types document, `code.py serve` tells it by HTTP.

It writes down which schema version it sees: in the description of the main object when it registers, and in what
`told` answers when it is called. `--depth N` registers from a process that N nested processes lead to.
"""

import json
import os
import sys
from pathlib import Path

from protocol import IMAGE, PORT, asked, chain, document, exec_nested, give, level, main_object, matrix_functions, module, view


def registered():
    description = f"registered under {view()}"
    return module([main_object("Matrix", matrix_functions(), description)], [level()])


def deeper(command, depth):
    """The same from a process in another container."""
    files = [
        f"withNewFile(path: {json.dumps(str(path))}, contents: {json.dumps(path.read_text())})"
        for path in sorted(Path(__file__).parent.glob("*.py"))
    ]
    run = exec_nested("python3", "-B", __file__, command, "--depth", str(depth - 1))
    return chain("container", f'from(address: "{IMAGE}")', *files, run, "stdout")


MADE = {"types": registered, "seen": view, "document": lambda: document(f"registered under {view()}")}


def made(command, words):
    depth = int(words.pop(words.index("--depth") + 1)) if "--depth" in words else 0
    output = [word for word in words if word != "--depth"]
    found = deeper(command, depth) if depth else MADE[command]()
    if output:
        Path(output[0]).parent.mkdir(exist_ok=True)
        Path(output[0]).write_text(json.dumps(found) if command == "types" else found)
    else:
        print(found, end="")


def serve():
    call = asked()
    if not call["parentName"]:
        give(registered())
    elif call["name"] == "told":
        seen = Path("/out/seen")
        give(f"{call['args']['level']} {view()} {os.environ['SDK_VIEW']}" + (f" {seen.read_text()}" if seen.exists() else ""))
    else:
        give({})


def tell():
    """Tells every caller which schema version this process sees."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Teller(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(view().encode())

    HTTPServer(("", PORT), Teller).serve_forever()


if sys.argv[1:2] == ["serve"]:
    tell()
elif sys.argv[1:]:
    made(sys.argv[1], sys.argv[2:])
else:
    serve()
