"""The journal of a batch: one line per finished row, so that a killed run goes on where it stopped.

The first line names the bundle and the input. A line counts once its end is written; what follows the last
complete line was being written when the run died and is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json

Record = dict[str, Any]


class Journal:
    """Append-only file of records, numbered from the first data row of the input.

    Parameters
    ----------
    path
        ``scores.jsonl`` of the output folder; made if it is absent.
    header
        What the records depend on. A journal with another header is refused, not overwritten.
    first, rows
        ``row`` of the first record, and how many there will be.

    Raises
    ------
    InputError
        If the file is a journal of something else, or no journal.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, first: int, rows: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        opening = (canonical_json(dict(header), indent=None) + "\n").encode("utf-8")
        self.records: list[Record] = []
        keep = 0
        content = path.read_bytes() if path.exists() else b""
        if content and not opening.startswith(content):
            if not content.startswith(opening):
                raise InputError(
                    "the output folder holds the scores of another bundle, input or version",
                    where=path.name,
                    remedy="choose an empty output folder",
                )
            keep = len(opening)
            for line in content[len(opening) :].splitlines(keepends=True)[:rows]:
                record = _record(line, first + len(self.records))
                if record is None:
                    break
                self.records.append(record)
                keep += len(line)
        self._stream: IO[bytes] = path.open("r+b" if content else "wb")
        self._stream.truncate(keep)
        self._stream.seek(keep)
        if not keep:
            self._write(opening)

    def append(self, record: Record) -> None:
        """Add a record and hand it to the operating system at once."""
        self._write((canonical_json(record, indent=None) + "\n").encode("utf-8"))
        self.records.append(record)

    def _write(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _record(line: bytes, row: int) -> Record | None:
    """The record of a line, or None if the line is torn or out of turn."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("row") == row else None
