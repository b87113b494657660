"""What a terminal shows after bytes were written to it."""

import pyte


class Screen:
    """A terminal emulator with scrollback."""

    def __init__(self, columns: int, rows: int):
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000)
        self.stream = pyte.ByteStream(self.screen)

    def feed(self, data: bytes) -> "Screen":
        self.stream.feed(data)
        return self

    def lines(self) -> list[str]:
        """All lines that can be seen, those of the scrollback first, without empty ones at the end."""
        above = ["".join(row[at].data for at in range(self.screen.columns)) for row in self.screen.history.top]
        lines = [line.rstrip() for line in [*above, *self.screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def is_restored(self) -> bool:
        """The cursor is visible and at the beginning of a line, and lines wrap."""
        return not self.screen.cursor.hidden and self.screen.cursor.x == 0 and pyte.modes.DECAWM in self.screen.mode
