"""Finished blocks of an unfinished batch, so that a killed run goes on where it stopped.

A block is one file, written whole or not at all and named by a hash of all that decides it. Its first line tells the
name, the sizes of its tables and the checksum of all that follows; a file that is not as it says is removed and its
block computed again. Nothing in it is loaded as code.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, write_bytes
from radiomics_crlm.scoring.rows import Account, Block, Scored, score_rows

_FORMAT, _VERSION = "crlm scored rows", 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Part:
    """A finished block: its tables as Arrow streams (no attributions: empty), its rows as CSV without header."""

    scores: bytes
    spreadsheet: bytes
    attributions: bytes
    account: Account


def finish(block: Block) -> Part:
    """Score a block and make its tables ready to be written: what a worker does."""
    scored: Scored = score_rows(block)
    attributions = b"" if scored.attributions is None else _stream(scored.attributions)
    return Part(_stream(scored.scores), spreadsheet(scored.scores), attributions, scored.account)


class Parts:
    """A folder of finished blocks; made when the first one is kept.

    Parameters
    ----------
    folder
        Where they lie.
    identity
        What all of them depend on.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = folder, dict(identity)

    def get(self, start: int, stop: int) -> Part | None:
        """The block of rows ``start`` to ``stop``; None if it is not there or cannot be believed."""
        key = self._key(start, stop)
        path = self._folder / key
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            return _read(key, json.loads(head), body)
        except FileNotFoundError:
            return None
        except _DAMAGE:
            with contextlib.suppress(OSError):  # not ours to remove: it is not believed next time either
                path.unlink(missing_ok=True)
            return None

    def put(self, start: int, stop: int, part: Part) -> None:
        """Keep a block."""
        key = self._key(start, stop)
        tables = (part.scores, part.spreadsheet, part.attributions)
        account = canonical_json(part.account.to_json(), indent=None).encode("utf-8")
        body = b"".join((*tables, account))
        head = {"format": _FORMAT, "version": _VERSION, "key": key, "sha256": sha256_bytes(body)}
        line = canonical_json(head | {"sizes": [len(table) for table in tables]}, indent=None)
        write_bytes(self._folder / key, line.encode("utf-8") + b"\n" + body)

    def _key(self, start: int, stop: int) -> str:
        return sha256_bytes(canonical_json([self._identity, start, stop]).encode("utf-8"))


def _read(key: str, head: Mapping[str, Any], body: bytes) -> Part:
    expected = {"format": _FORMAT, "version": _VERSION, "key": key, "sha256": sha256_bytes(body)}
    if {name: head[name] for name in expected} != expected:
        raise ValueError
    tables, begin = [], 0
    for size in head["sizes"]:
        tables.append(body[begin : begin + size])
        begin += size
    scores, csv, attributions = tables
    return Part(scores, csv, attributions, Account.from_json(json.loads(body[begin:])))


def _stream(table: pd.DataFrame) -> bytes:
    content = pa.Table.from_pandas(table, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(content)
    return bytes(sink.getvalue().to_pybytes())


def table_of(stream: bytes) -> pa.Table:
    """The table of a stream."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()


def spreadsheet(table: pd.DataFrame) -> bytes:
    """Rows as CSV without header, none of whose cells a spreadsheet takes for a formula."""
    texts = [name for name, column in table.items() if isinstance(column.dtype, pd.StringDtype)]
    safe: dict[str, pd.Series] = {str(name): _harmless_cells(table[name]) for name in texts}
    content = pa.Table.from_pandas(table.assign(**safe), preserve_index=False)
    sink = pa.BufferOutputStream()
    pacsv.write_csv(content, sink, pacsv.WriteOptions(include_header=False))
    return bytes(sink.getvalue().to_pybytes())


def _harmless_cells(column: pd.Series) -> pd.Series:
    if not column.str.startswith(_FORMULA).fillna(False).any():
        return column
    return column.map(harmless, na_action="ignore").astype("str")


def harmless(cell: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("P-1")
    ("'=1+1", 'P-1')
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
