"""Tables on disk: Parquet, checked against their schema by the writer and by the reader."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import sha256_bytes, write_bytes
from radiomics_crlm.provenance.unfinished import unfinished
from radiomics_crlm.schema import check_table

# What pandas and pyarrow raise for damaged files, for values that pandas does not have (a day in the year 99999), and
# for what pandas keeps of a table in a Parquet file.
TABLE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    MemoryError,
    RecursionError,
    pa.ArrowException,
)
# Numbers that a Parquet file may announce whatever its size, and per byte beyond: rows differ at least in their keys,
# and even a well packed table does not reach it. Equal rows without end fit into a few bytes.
_FREE_BYTES, _MAX_RATIO = 1 << 26, 1032
_MAX_COLUMNS, _LONGEST_HEADER = 20_000, 1 << 20
_MAX_TEXT_RATIO = 64  # of numbers as text, packed with gzip


def write_table(table: pd.DataFrame, path: Path, name: str) -> pd.DataFrame:
    """Check a table against ``data_schemas/{name}.yaml`` and write it atomically as Parquet; the same rows give the
    same bytes.

    Returns the typed table that was written.

    Raises
    ------
    InputError
        If the table breaks its schema.
    """
    checked = check_table(table, name)
    write_bytes(path, _parquet_bytes(checked))
    return checked


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Read a Parquet (or CSV) table that this program wrote, and check it.

    Raises
    ------
    InputError
        If it is absent, unreadable or breaks its schema.
    """
    return check_table(read_raw(path, what=f"table {name!r}"), name)


def read_raw(path: Path, *, what: str) -> pd.DataFrame:
    """Read a Parquet or CSV file without interpreting it: CSV cells stay text.

    Raises
    ------
    InputError
        If the file is absent, empty, not UTF-8, not a table, or of another kind.
    """
    with _reading(path, what) as is_parquet:
        if is_parquet:
            with pq.ParquetFile(path) as file:
                _check_parquet(file, path, what)
                table = file.read()
                table.validate(full=True)  # text that is no UTF-8 would be met later
                return table.to_pandas()
        table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
        _refuse_shifted(table, path, what)
        return table


def read_packed(path: Path, *, what: str) -> pd.DataFrame:
    """Read a Parquet file, or a CSV file that may be packed with gzip, as pandas understands it.

    Raises
    ------
    InputError
        If the file is absent or not a table, or unpacks to far more than a table.
    """
    if path.suffix == ".parquet":
        return read_raw(path, what=what)
    if not path.is_file():
        raise InputError(f"{what} is missing", where=path.name, remedy="check the path")
    try:
        if path.suffix == ".gz":
            _refuse_bomb(path, what)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            _refuse_wide(stream, path, what)
        table = pd.read_csv(path, encoding="utf-8", low_memory=False)
    except TABLE_ERRORS:
        raise InputError(f"{what} cannot be read", where=path.name, expected="CSV (also .gz) or Parquet") from None
    _refuse_shifted(table, path, what)
    return table


def _refuse_bomb(path: Path, what: str) -> None:
    """Unpack a gzip file without keeping it, to see how large it is."""
    seen, most = 0, max(_FREE_BYTES // 4, _MAX_TEXT_RATIO * path.stat().st_size)
    with gzip.open(path) as stream:
        while chunk := stream.read(1 << 20):
            seen += len(chunk)
            if seen > most:
                raise InputError(f"{what} unpacks to far more than a table", where=path.name)


def read_blocks(path: Path, *, what: str, size: int, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read a table as `read_raw` does, ``size`` rows at a time (all ``columns`` or some); at least one block, which may
    be empty.

    Whole numbers with gaps stay whole in a Parquet file, where `read_raw` makes floats of them: a block does not know
    whether there is a gap elsewhere.

    Raises
    ------
    InputError
        As `read_raw`; for faults within the table only when its block is reached.
    """
    with _reading(path, what) as is_parquet:
        if is_parquet:
            with pq.ParquetFile(path) as file:
                _check_parquet(file, path, what)
                empty = True
                for batch in file.iter_batches(batch_size=size, columns=columns):
                    empty = False
                    batch.validate(full=True)
                    yield batch.to_pandas(integer_object_nulls=True).reset_index(drop=True)
                if empty:
                    yield file.schema_arrow.empty_table().to_pandas()
            return
        with pd.read_csv(
            path, dtype="str", keep_default_na=False, encoding="utf-8-sig", chunksize=size, usecols=columns
        ) as reader:
            for block in reader:
                _refuse_shifted(block, path, what)
                yield block.reset_index(drop=True)


@contextmanager
def _reading(path: Path, what: str) -> Iterator[bool]:
    """Whether a table is Parquet (and not CSV), and one kind of error while it is read."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{what} has an unknown file type", expected=".csv or .parquet", got=repr(suffix))
    if not path.is_file():
        raise InputError(f"{what} is missing", expected=f"a file named {path.name}", remedy="check the path")
    try:
        if suffix == ".csv":
            with path.open("rb") as stream:
                _refuse_wide(stream, path, what)
        yield suffix == ".parquet"
    except TABLE_ERRORS as error:
        raise InputError(
            f"{what} cannot be read as a table",
            where=path.name,
            got=type(error).__name__,
            remedy="save it anew as UTF-8",
        ) from None


def _refuse_wide(stream: IO[bytes] | gzip.GzipFile, path: Path, what: str) -> None:
    """A header of more columns than any table has; each costs time before its name is even looked at."""
    header = b""
    while not header.strip() and stream.tell() < _LONGEST_HEADER:
        header = stream.readline(_LONGEST_HEADER)
        if not header:
            return
    if len(header) >= _LONGEST_HEADER or header.count(b",") >= _MAX_COLUMNS:
        raise _too_wide(path, what)


def _too_wide(path: Path, what: str) -> InputError:
    return InputError(f"{what} has too many columns", where=path.name, expected=f"at most {_MAX_COLUMNS} columns")


def _check_parquet(file: pq.ParquetFile, path: Path, what: str) -> None:
    """Refuse too many columns, cells that hold several values, and more rows than the file can hold, were they not all
    the same.
    """
    if file.metadata.num_columns > _MAX_COLUMNS:
        raise _too_wide(path, what)
    if any(pa.types.is_nested(field.type) for field in file.schema_arrow):
        raise InputError(f"{what} has cells that hold several values", where=path.name, expected="one value per cell")
    announced = 8 * file.metadata.num_rows * file.metadata.num_columns
    if announced > max(_FREE_BYTES, _MAX_RATIO * path.stat().st_size):
        raise InputError(f"{what} announces far more rows than its file can hold", where=path.name)


def _refuse_shifted(table: pd.DataFrame, path: Path, what: str) -> None:
    """Rows with one cell more than the header, which pandas would read one column too far to the left."""
    if len(table) and not isinstance(table.index, pd.RangeIndex):
        raise InputError(
            f"{what} has rows with more cells than its header",
            where=path.name,
            remedy="name every column, or remove the surplus separators",
        )


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of a table's content: the same rows in the same order give the same digest."""
    return sha256_bytes(_parquet_bytes(table))


def _parquet_bytes(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


class TableWriter:
    """Writes a table in blocks, so that it never has to fit into memory: Parquet (one row group per block) or CSV.

    Each block is checked against the schema; that keys are unique across blocks is left to the caller. The file
    appears, complete, when the ``with`` block ends; after an error nothing is left.

    Parameters
    ----------
    path
        Ends in ``.parquet`` or ``.csv``.
    name
        Schema.

    Raises
    ------
    InputError
        If a block breaks the schema.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._temporary = unfinished(path)
        self._writer: Any = None

    def __enter__(self) -> TableWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, table: pd.DataFrame, *, checked: bool = False) -> pd.DataFrame:
        """Append a block and return it typed; ``checked`` says that it comes from another writer of the schema."""
        typed = table if checked else check_table(table, self._name)
        block = pa.Table.from_pandas(typed, preserve_index=False)
        if self._writer is None:
            is_csv = self._path.suffix == ".csv"
            self._writer = (
                pacsv.CSVWriter(self._temporary, block.schema)
                if is_csv
                else pq.ParquetWriter(self._temporary, block.schema, compression="zstd")
            )
        self._writer.write_table(block)
        return typed

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
                if kind is None:
                    os.replace(self._temporary, self._path)
        finally:  # on a full disk it may be the closing that fails
            self._temporary.unlink(missing_ok=True)
