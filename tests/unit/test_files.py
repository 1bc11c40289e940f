"""Atomic writes, and JSON that cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import (
    canonical_json,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)


def test_what_is_written_is_read_again_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "ü" / "x.json"
    write_json(path, {"b": 0.1, "a": ["é"]})
    assert read_json(path, what="it") == {"a": ["é"], "b": 0.1}
    assert path.read_bytes() == (canonical_json({"a": ["é"], "b": 0.1}) + "\n").encode("utf-8")
    assert sha256_file(path) == sha256_bytes(path.read_bytes())
    write_text(path, "anew")
    assert [p.read_text() for p in path.parent.iterdir()] == ["anew"]


def test_results_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "bad", "elsewhere"), KeyboardInterrupt()],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"old")
    named = getattr(error, "filename", None)

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(type(error)) as raised:
            write_bytes(path, b"new")
    assert raised.value is error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x.json": b"old"}
    if isinstance(error, OSError):  # a full disk does not say of which file, other errors do
        assert error.filename == (named or str(path))
        error.filename = named


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"^the record is missing; expected a file named x\.json\.$"),
        (b"{", r"^x\.json: the record is not readable as JSON\.$"),
        (b"\xff\xfe", r"^x\.json: the record is not readable as JSON\.$"),
        (b"[" * 100_000, r"^x\.json: the record is not readable as JSON\.$"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"^x\.json: the record is not readable as JSON\.$"),
        (b"[1]", r"^x\.json: the record is not a JSON object\.$"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_json(path, what="the record")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the record is not readable as JSON"):
        read_json(tmp_path, what="the record")


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
