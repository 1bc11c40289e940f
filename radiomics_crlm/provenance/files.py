"""Hashes and atomic writes: a file is either the old one or the complete new one, never half of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.unfinished import unfinished


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically (temporary file in the same folder, flushed to disk, then renamed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    # Not mkstemp: its files are private, and results should follow the user's umask like any other file.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say of which file
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def canonical_json(content: Any, *, indent: int | None = 1) -> str:
    """JSON with sorted keys and full precision; refuses NaN and infinity, which JSON does not have.

    >>> canonical_json({"b": 0.1, "a": [1]}, indent=None)
    '{"a": [1], "b": 0.1}'
    """
    return json.dumps(content, sort_keys=True, indent=indent, allow_nan=False, ensure_ascii=False)


def write_json(path: Path, content: Any) -> None:
    """Write canonical JSON atomically."""
    write_text(path, canonical_json(content) + "\n")


def read_json(path: Path, *, what: str) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If the file is absent, no JSON, or not an object; ``what`` names it in the message.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{what} is missing", expected=f"a file named {path.name}") from None
    except (OSError, ValueError, RecursionError):  # a number of thousands of digits is a ValueError
        raise InputError(f"{what} is not readable as JSON", where=path.name) from None
    if not isinstance(content, dict):
        raise InputError(f"{what} is not a JSON object", where=path.name)
    return content
