"""Tables on disk: Parquet, checked against their schema by the writer and by the reader."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import sha256_bytes, write_bytes
from radiomics_crlm.schema import check_table


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
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{what} has an unknown file type", expected=".csv or .parquet", got=repr(suffix))
    if not path.is_file():
        raise InputError(f"{what} is missing", expected=f"a file named {path.name}", remedy="check the path")
    try:
        if suffix == ".parquet":
            return pq.read_table(path).to_pandas()
        return pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{what} cannot be read as a table",
            where=path.name,
            got=type(error).__name__,
            remedy="save it anew as UTF-8",
        ) from None


def table_digest(table: pd.DataFrame) -> str:
    """SHA-256 of a table's content: the same rows in the same order give the same digest."""
    return sha256_bytes(_parquet_bytes(table))


def _parquet_bytes(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()
