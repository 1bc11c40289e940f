"""The clinical table that is scored, a block of rows at a time: it never has to fit into memory."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import sha256_bytes
from radiomics_crlm.provenance.tables import read_blocks
from radiomics_crlm.schema import load_schema, parse_table

_WHAT = "clinical table"
_BYTES_AT_ONCE, _KEYS_AT_ONCE = 2**20, 200_000
_KEY = "patient_id"
# Two keys of the same patient have the same pair of hashes; two patients share one with a chance of 2^-128.
_FIRST, _SECOND = "radiomics_crlm/1", "radiomics_crlm/2"
Hashes = npt.NDArray[np.uint64]


class Source(Protocol):
    """A raw clinical table."""

    def digest(self) -> str:
        """SHA-256 of all that is in it."""

    def blocks(self, size: int, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """Its rows, ``size`` at a time, without interpreting them; at least one block."""

    def check_unchanged(self) -> None:
        """Refuse a table that is no longer what :meth:`digest` saw."""


class Frame:
    """A table in memory."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def digest(self) -> str:
        return sha256_bytes(self._table.to_csv(index=False).encode("utf-8"))

    def blocks(self, size: int, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        chosen = self._table if columns is None else self._table[columns]
        for start in range(0, max(len(chosen), 1), size):
            yield chosen.iloc[start : start + size]

    def check_unchanged(self) -> None:
        return


class File:
    """A CSV or Parquet file.

    Raises
    ------
    InputError
        If it is absent or cannot be read as a table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def digest(self) -> str:
        self._seen = self._stamp()
        found = hashlib.sha256()
        decoder = codecs.getincrementaldecoder("utf-8")()
        is_text = self._path.suffix.lower() == ".csv"
        try:
            with self._path.open("rb") as stream:
                while data := stream.read(_BYTES_AT_ONCE):
                    found.update(data)
                    if is_text:
                        decoder.decode(data)
                if is_text:
                    decoder.decode(b"", final=True)
        except (OSError, UnicodeDecodeError) as error:
            name = type(error).__name__
            raise InputError(
                f"the {_WHAT} cannot be read as a table",
                where=self._path.name,
                got=name,
                remedy="save it anew as UTF-8",
            ) from None
        return found.hexdigest()

    def blocks(self, size: int, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        return read_blocks(self._path, what=_WHAT, size=size, columns=columns)

    def check_unchanged(self) -> None:
        if self._seen is not None and self._seen != self._stamp():
            raise _changed()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (-1, -1)
        return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class Keys:
    """Patient keys of a whole table: ``repeated`` says which rows have a key that stands in several rows."""

    repeated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.repeated)

    def of_block(self, start: int, rows: int) -> npt.NDArray[np.bool_]:
        """Which of some rows from row ``start`` on have a repeated key.

        Raises
        ------
        InputError
            If there were fewer rows when the whole table was looked at.
        """
        if start + rows > len(self):
            raise _changed()
        return self.repeated[start : start + rows]


def survey(source: Source, notes: CohortNotes, *, size: int = _KEYS_AT_ONCE) -> Keys:
    """Look at the keys of all rows, ``size`` at a time.

    Raises
    ------
    InputError
        If the table has no rows or cannot be read.
    """
    columns = _key_columns(next(source.blocks(1)), notes)
    parts, unknown = [], []
    for block in source.blocks(size, columns):
        found, missing = _hashes(block, notes, _FIRST)
        parts.append(found)
        unknown.append(missing)
    hashes, missing = np.concatenate(parts), np.concatenate(unknown)
    if not len(hashes):
        raise InputError("the clinical table has no rows", expected="one row per patient", got="0 rows")
    repeated = _repeated(hashes) & ~missing
    if repeated.any():  # by the first hash alone: by both, if their keys are really the same
        seconds = np.concatenate([_hashes(block, notes, _SECOND)[0] for block in source.blocks(size, columns)])
        if len(seconds) != len(hashes):
            raise _changed()
        suspects = np.flatnonzero(repeated)
        pairs = pd.DataFrame({"first": hashes[suspects], "second": seconds[suspects]})
        repeated[suspects] = pairs.duplicated(keep=False).to_numpy()
    return Keys(repeated)


def known_keys(source: Source, notes: CohortNotes) -> set[str]:
    """All patient keys of a table, for cohorts with images."""
    columns = _key_columns(next(source.blocks(1)), notes)
    return {key for block in source.blocks(_KEYS_AT_ONCE, columns) for key in patient_keys(block, notes).dropna()}


def patient_keys(block: pd.DataFrame, notes: CohortNotes) -> pd.Series:
    """The typed keys of some rows; null where there is none."""
    return parse_table(block[_key_columns(block, notes)], load_schema("clinical")).table[_KEY]


def _key_columns(block: pd.DataFrame, notes: CohortNotes) -> list[str]:
    canonical, ignored = load_schema("clinical").canonical, set(notes.ignore_columns)
    return [c for c in block.columns if canonical(str(c)) == _KEY and str(c).strip() not in ignored]


def _hashes(block: pd.DataFrame, notes: CohortNotes, secret: str) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Hash of the typed key of each row, and which rows have none."""
    keys = patient_keys(block, notes)
    missing = keys.isna().to_numpy(dtype=bool)
    texts = keys.to_numpy(dtype=object, na_value="")
    return pd.util.hash_array(texts, hash_key=secret, categorize=False), missing


def _repeated(hashes: Hashes) -> npt.NDArray[np.bool_]:
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    repeated = np.zeros(len(hashes), dtype=bool)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    return repeated


def _changed() -> InputError:
    return InputError(
        "the clinical table changed while it was read", remedy="leave it alone, and choose an empty output folder"
    )
