"""The tables of a batch, put together from its finished blocks without ever being in memory as a whole."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from radiomics_crlm.scoring.parts import Part, table_of

TABLE, SPREADSHEET, ATTRIBUTIONS = "scores.parquet", "scores.csv", "attributions.parquet"


def write_outputs(parts: Iterator[Part], folder: Path, columns: Sequence[str]) -> list[Path]:
    """Write the tables of all parts, in their order, to a folder; the files are on disk when this returns.

    Parameters
    ----------
    parts
        At least one; a row group of a Parquet file is the table of one part.
    folder
        Where the files go.
    columns
        Header of the spreadsheet.

    Returns
    -------
    ``scores.parquet``, ``scores.csv`` and, if the parts have any, ``attributions.parquet``.
    """
    paths = [folder / TABLE, folder / SPREADSHEET]
    with ExitStack() as open_files:
        sheet = open_files.enter_context(paths[1].open("wb"))
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(columns)
        sheet.write(header.getvalue().encode("utf-8"))
        scores, attributions = _Growing(paths[0], open_files), _Growing(folder / ATTRIBUTIONS, open_files)
        for part in parts:
            sheet.write(part.spreadsheet)
            scores.append(table_of(part.scores))
            if part.attributions:
                attributions.append(table_of(part.attributions))
        if attributions.started:
            paths.append(folder / ATTRIBUTIONS)
    for path in paths:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return paths


class _Growing:
    """A Parquet file that begins with its first table."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self._path, self._files = path, files
        self._writer: Any = None

    @property
    def started(self) -> bool:
        return self._writer is not None

    def append(self, table: pa.Table) -> None:
        if self._writer is None:
            # Through a stream of Python, so that a full disk is an error with a name.
            stream = self._files.enter_context(self._path.open("wb"))
            self._writer = self._files.enter_context(pq.ParquetWriter(stream, table.schema, compression="zstd"))
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
