"""The two ways in which what is to be ingested can be wrong: one file, or the whole manifest.

Both say on one line which file, what is wrong and what to do. Neither ever carries the value of a DICOM attribute: a message
ends up in logs, tables and web pages, and a patient's name must not. Nothing else belongs in this module.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_LISTED = 5


def listed(values: Sequence[object], most: int = MOST_LISTED) -> str:
    """The first few, and how many more: `1, 2, 3, 4, 5 and 199,995 more`."""
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


class UnreadableFile(Exception):
    """One file cannot be used; it is refused by name and the rest of the batch goes on.

    Attributes
    ----------
    path, reason, remedy : str
        The file, what is wrong with it, what to do (or '').
    """

    def __init__(self, path: str, reason: str, remedy: str = "") -> None:
        super().__init__(path, reason, remedy)  # all of them, so that it survives pickling
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class ManifestError(ValueError):
    """The manifest is wrong in its structure: nothing of the batch can be trusted until it is corrected.

    Attributes
    ----------
    path, reason, remedy : str
        The manifest, what is wrong with it, what to do (or '').
    line : int, optional
        Of the text file (the header is line 1); in Parquet, the row counted from 1.
    column : str, optional
        Which column.
    """

    def __init__(
        self, path: str, reason: str, remedy: str = "", line: int | None = None, column: str | None = None
    ) -> None:
        super().__init__(path, reason, remedy, line, column)
        self.path = path
        self.reason = reason
        self.remedy = remedy
        self.line = line
        self.column = column

    def __str__(self) -> str:
        unit = "row" if self.path.endswith((".parquet", ".pq")) else "line"
        where = self.path
        if self.line is not None:
            where += f", {unit} {self.line}"
        if self.column is not None:
            where += f", column {self.column}"
        return f"{where}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")
