"""A terminal in a few lines: what a person sees of the bytes that a program wrote to it."""

import re


class Screen:
    """A screen of so many columns, endless downwards, that wraps and, when it is resized, wraps
    anew, as today's terminals do (xterm cuts instead: `reflows` False).

    A row is a list of characters and whether the next one goes on with it; `where` is the cursor,
    [row, column]. It knows what this project writes: text, line ends, \\r, and the erasing of a
    line's or the screen's rest; also cursor up and the erasing of a whole line.
    """

    def __init__(self, columns, reflows=True):
        self.columns, self.reflows = columns, reflows
        self.rows, self.goes_on, self.where = [[]], [False], [0, 0]

    def feed(self, text):
        for code, last, char in re.findall(r"\x1b\[([?\d;]*)([A-Za-z])|([^\x1b])", text):
            if char:
                self._write(char)
            elif last == "J" and code in ("", "0"):
                self._erase()
                del self.rows[self.where[0] + 1 :], self.goes_on[self.where[0] + 1 :]
                self.goes_on[-1] = False
            elif last == "K" and code in ("", "0"):
                self._erase()
            elif last == "K" and code == "2":
                self.rows[self.where[0]] = []
            elif last == "A":
                self.where[0] = max(0, self.where[0] - int(code or 1))
            elif last not in "mhl":
                raise AssertionError(f"an escape that this screen does not know: {code}{last}")
        return self

    def _erase(self):
        row, column = self.where
        del self.rows[row][column:]

    def _down(self):
        self.where[0] += 1
        if self.where[0] == len(self.rows):
            self.rows.append([])
            self.goes_on.append(False)

    def _write(self, char):
        if char == "\r":
            self.where[1] = 0
        elif char == "\n":
            self._down()
            self.where[1] = 0
        else:
            if self.where[1] >= self.columns:  # wraps when the next character comes
                self.goes_on[self.where[0]] = True
                self._down()
                self.where[1] = 0
            row, column = self.rows[self.where[0]], self.where[1]
            row.extend(" " * (column + 1 - len(row)))
            row[column] = char
            self.where[1] += 1

    def resize(self, columns):
        """Another width: each line is wrapped anew, and the cursor stays at its character."""
        rows, goes_on, (at, column) = self.rows, self.goes_on, self.where
        self.columns, self.rows, self.goes_on = columns, [], []
        if not self.reflows:
            self.rows, self.goes_on = [row[:columns] for row in rows], goes_on
            return
        line, cursor = [], None
        for i, row in enumerate(rows):
            if i == at:
                cursor = len(line) + column
            line += row
            if goes_on[i] and i + 1 < len(rows):
                continue
            pieces = [line[n : n + columns] for n in range(0, len(line), columns)] or [[]]
            if cursor is not None:
                down = min(cursor // columns, len(pieces) - 1)
                self.where, cursor = [len(self.rows) + down, cursor - down * columns], None
            self.rows += pieces
            self.goes_on += [True] * (len(pieces) - 1) + [False]
            line = []

    @property
    def lines(self):
        """What is seen, without blanks at the ends and empty rows below."""
        text = "\n".join("".join(row).rstrip() for row in self.rows)
        return text.rstrip("\n").split("\n")
