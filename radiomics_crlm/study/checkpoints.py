"""Finished parts of a run, filed under a hash of all that decides them.

So a part is found again exactly if it would come out the same, and nothing has to be invalidated. Each is a small JSON
file with numbers in full precision, written whole or not at all. A file is believed only if its first line tells the
right format and name and the checksum of the rest; any other is removed, counted, and computed again. Nothing is ever
loaded as code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, write_bytes
from radiomics_crlm.provenance.plain_values import decode, encode

_FORMAT, _VERSION = "crlm checkpoint", 1
_TEXTS = ("object", "str")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Checkpoints:
    """A folder of finished parts.

    Parameters
    ----------
    folder
        Made when the first part is kept.
    others
        Folders of other runs, in which parts are looked for too. Nothing is written there or removed.

    Attributes
    ----------
    damaged
        Files that were not believed.
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self._folder, self._others = folder, tuple(others)
        self.damaged = 0

    def get(self, key: str) -> dict[str, Any] | None:
        """What was kept under a key; None if there is nothing, or nothing that can be believed."""
        for folder in (self._folder, *self._others):
            content = self._read(folder, key)
            if content is not None:
                return content
        return None

    def _read(self, folder: Path, key: str) -> dict[str, Any] | None:
        path = _place(folder, key)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            if json.loads(head) != _head(key, body):
                raise ValueError
            content: dict[str, Any] = {name: _revived(value) for name, value in json.loads(body).items()}
        except FileNotFoundError:
            return None
        except _DAMAGE:
            self.damaged += 1
            if folder == self._folder:
                with contextlib.suppress(OSError):  # not ours to remove: it is not believed next time either
                    path.unlink(missing_ok=True)
            return None
        return content

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Keep tables and plain values under a key (a SHA-256).

        Raises
        ------
        CrlmError
            If a table has a column of a type that would not come back as it is.
        """
        body = canonical_json({name: _kept(value) for name, value in content.items()}, indent=None).encode("utf-8")
        head = canonical_json(_head(key, body), indent=None).encode("utf-8")
        write_bytes(_place(self._folder, key), head + b"\n" + body)


def _place(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.json"


def digest(content: object) -> str:
    """SHA-256 of plain values, numbers, arrays, tables and dataclasses of these; all of it counts, names included.

    Raises
    ------
    CrlmError
        For anything else: what is left out of a key would be believed wrongly one day.

    Examples
    --------
    >>> digest((1, "a")) == digest([1, "a"])
    True
    >>> digest({"a": 0.1}) == digest({"a": 0.10000000000000002})
    False
    """
    return sha256_bytes(canonical_json(_described(content), indent=None).encode("utf-8"))


def _described(content: Any) -> Any:
    """Content as JSON; large arrays as hashes."""
    if isinstance(content, np.generic):
        content = content.item()
    if content is None or isinstance(content, (bool, int, str)):
        return content
    if isinstance(content, float):
        return content if math.isfinite(content) else {"number": repr(content)}
    if content is pd.NA:
        return {"number": "NA"}
    if isinstance(content, (list, tuple)):
        return [_described(item) for item in content]
    if isinstance(content, Mapping):
        return {"mapping": [[_described(key), _described(value)] for key, value in content.items()]}
    return _described_data(content)


def _described_data(content: Any) -> Any:
    if isinstance(content, np.ndarray):
        shape = list(content.shape)
        if content.dtype.hasobject:
            return {"array": _described(content.ravel().tolist()), "shape": shape}
        return {"type": content.dtype.str, "shape": shape, "sha256": sha256_bytes(content.tobytes())}
    if isinstance(content, pd.Index):
        return {"index": _described(content.tolist())}
    if isinstance(content, pd.DataFrame):
        columns = [[name, str(column.dtype), column.to_numpy()] for name, column in content.items()]
        return {"rows": _described(content.index), "columns": _described(columns)}
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        fields = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
        return {"kind": type(content).__name__, "fields": _described(fields)}
    raise CrlmError("a key cannot be made of this", where="checkpoints", got=type(content).__name__)


def _kept(value: Any) -> Any:
    """A table as its columns with their types, anything else as it is."""
    if not isinstance(value, pd.DataFrame):
        return {"value": encode(value)}
    columns = []
    for name, column in value.items():
        kind = str(column.dtype)
        if kind not in _TEXTS and not (isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub"):
            raise CrlmError("a checkpoint cannot hold a column of this type", where=str(name), got=kind)
        columns.append([name, kind, encode(column.tolist())])
    return {"rows": len(value), "columns": columns}


def _revived(kept: Mapping[str, Any]) -> Any:
    if "columns" not in kept:
        return decode(kept["value"])
    index = pd.RangeIndex(kept["rows"])
    columns = {name: pd.Series(decode(values), index=index, dtype=kind) for name, kind, values in kept["columns"]}
    return pd.DataFrame(columns, index=index)


def _head(key: str, body: bytes) -> dict[str, Any]:
    """First line of a file."""
    return {"format": _FORMAT, "version": _VERSION, "key": key, "sha256": sha256_bytes(body)}
