"""CSV whose first line names the columns: a row that is shorter or longer than that line is refused."""

from __future__ import annotations

import csv
import io

from probe.outside_files.limits import UnreadableError


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows of some CSV by the names in its first line; raises `UnreadableError`."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows: list[dict[str, str]] = []
    try:
        columns = reader.fieldnames or ()
        if len(set(columns)) != len(columns):
            raise UnreadableError("columns with names of their own", "one name twice", "line 1")
        for row in reader:
            if None in row or None in row.values():
                expected = f"{len(columns)} columns, as the first line has"
                raise UnreadableError(expected, "another number", f"line {reader.line_num}")
            rows.append(row)
    except csv.Error as problem:
        raise UnreadableError("CSV", str(problem), f"line {reader.line_num}") from None
    return rows
