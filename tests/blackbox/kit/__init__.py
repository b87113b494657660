"""The kit of the black-box suite: everything that several test files need, each defined once.

Names that most files use are imported from here. The others are in the module of their topic: `git_server`, `registries`,
`web`, `oci`, `dockerfiles`, `streams`, `terminal`, `nested`, `sdks`, `leaks`.
"""

from kit.graphql import (
    PYTHON,
    Chain,
    ask,
    busybox,
    container,
    directory,
    document,
    files_of,
    find_field,
    id_bytes,
    id_of_bytes,
    in_busybox,
    leaf,
    nest,
    quote,
    run_in,
    set_secret,
    sh,
    unique,
)
from kit.modules import IMPORTS, PROBE, module_config, serve_module, write_module
from kit.paths import BINARY, CLIENTS, EXAMPLES, GREETER, IMAGES, REPO, ROOT
from kit.rondel import Outcome, Rondel, Session, mirror_of, short_folder
from kit.system import command_line, free_port, is_open, peak_memory, processes_with
from kit.waiting import eventually, let_time_pass

__all__ = [
    "BINARY",
    "CLIENTS",
    "EXAMPLES",
    "GREETER",
    "IMAGES",
    "IMPORTS",
    "PROBE",
    "PYTHON",
    "REPO",
    "ROOT",
    "Chain",
    "Outcome",
    "Rondel",
    "Session",
    "ask",
    "busybox",
    "command_line",
    "container",
    "directory",
    "document",
    "eventually",
    "files_of",
    "find_field",
    "free_port",
    "id_bytes",
    "id_of_bytes",
    "in_busybox",
    "is_open",
    "leaf",
    "let_time_pass",
    "mirror_of",
    "module_config",
    "nest",
    "peak_memory",
    "processes_with",
    "quote",
    "run_in",
    "serve_module",
    "set_secret",
    "sh",
    "short_folder",
    "unique",
    "write_module",
]
