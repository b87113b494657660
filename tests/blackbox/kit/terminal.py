"""`rondel` on a terminal."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time

from kit.paths import BINARY


class Terminal:
    """`rondel` on a pseudo-terminal, used as a person uses it."""

    def __init__(self, rondel, *words, cwd=None, columns=100, rows=40, env=None):
        self.said = b""
        # All that was read, also what `until` has returned.
        self.everything = b""
        pid, self.master = pty.fork()
        if pid == 0:
            # The program sees the size from its start.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.chdir(cwd or rondel.folder)
            os.execve(BINARY, [str(BINARY), *map(str, words)], rondel.environment(TERM="xterm", **(env or {})))
        self.pid = pid
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: str, seconds: float = 60) -> str:
        """Reads until the text has come, and returns everything up to its end."""
        deadline = time.monotonic() + seconds
        wanted = text.encode()
        while wanted not in self.said:
            left = deadline - time.monotonic()
            assert left > 0, f"`{text}` did not come:\n{self.said.decode(errors='replace')}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    piece = b""
                assert piece, f"`{text}` did not come before the end:\n{self.said.decode(errors='replace')}"
                self.said += piece
                self.everything += piece
        at = self.said.index(wanted) + len(wanted)
        got, self.said = self.said[:at], self.said[at:]
        return got.decode(errors="replace")

    def type(self, text: str):
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Reads the rest, and returns the exit code."""
        with contextlib.suppress(OSError):
            while piece := os.read(self.master, 65536):
                self.said += piece
                self.everything += piece
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def document_file(folder, text: str) -> str:
    """A document in a file. A terminal is the standard input of the command."""
    path = folder / f"{abs(hash(text))}.graphql"
    path.write_text(text)
    return str(path)
