"""A sealed folder: a few JSON files and a manifest of their hashes, read without trusting or executing anything.

Everything is checked before it is parsed: names against a fixed list, kinds and sizes of files, hashes, and
then the JSON itself (encoding, depth, repeated keys, numbers). Nothing else is ever opened, so there is no
format to attack but JSON.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, write_bytes
from radiomics_crlm.provenance.unfinished import unfinished

MANIFEST, DESCRIPTION = "manifest.json", "bundle.json"
PROTOCOLS = (1, 2)
"""Numbers of the formats that are read; the last is the newest. What a number means never changes."""
_MANIFEST_CAP = 64 * 1024
_MAX_DEPTH = 64
# Possessive, and an unclosed string runs to the end: no hostile text makes it look at a byte twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z.+\-]{1,40}")
# Recognised only to be named in the refusal: (position, first bytes, what it is).
_FORMATS = (
    (0, b"\x80", "a pickle"),
    (0, b"PK", "a zip archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"x\x5e", "zlib data"),
    (0, b"x\x9c", "zlib data"),
    (0, b"x\xda", "zlib data"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (257, b"ustar", "a tar archive"),
    (0, b"\xef\xbb\xbf", "a byte order mark"),
    (0, b"[", "a list"),
)


@dataclass(frozen=True)
class Unsealed:
    """What was in a sealed folder: content by file name (without the manifest), the protocol, the SHA-256 of all."""

    files: Mapping[str, bytes]
    protocol: int
    sha256: str


def seal(folder: Path, files: Mapping[str, bytes], *, protocol: int = 1) -> str:
    """Write files and their manifest as a folder, whole or not at all.

    Parameters
    ----------
    folder
        Must not exist yet, or hold exactly these bytes.
    files
        Content by file name.
    protocol
        Number of the format of the files.

    Returns
    -------
    SHA-256 over the names, sizes and hashes of all files.

    Raises
    ------
    InputError
        If something else is already there.
    """
    manifest = _manifest(files, protocol)
    content = {**files, MANIFEST: _canonical(manifest)}
    if _occupied(folder):
        return _confirm_same(folder, content, manifest["bundle_sha256"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(folder)
    temporary.mkdir()
    try:
        for name, data in content.items():
            write_bytes(temporary / name, data)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process may have sealed the same folder in the meantime.
            if not _occupied(folder):
                raise
            return _confirm_same(folder, content, manifest["bundle_sha256"])
    finally:
        _remove(temporary, content)
    return str(manifest["bundle_sha256"])


def unseal(folder: Path, caps: Mapping[str, int], *, required: frozenset[str]) -> Unsealed:
    """Read a sealed folder.

    Parameters
    ----------
    folder
        Folder written by :func:`seal`.
    caps
        Largest admissible size in bytes of each file that may be there.
    required
        Files that must be there.

    Raises
    ------
    InputError
        If anything is missing, unlisted, no plain file, too large, or not what the manifest says; the message
        says which.
    """
    try:
        present = _entries(folder)
    except OSError as error:
        raise InputError("the bundle cannot be read", got=error.strerror or "", remedy="check the path") from None
    sealed = _read(folder / MANIFEST, _MANIFEST_CAP)
    manifest = parse_object(sealed, what=MANIFEST)
    writer = "" if manifest.get("protocol") in PROTOCOLS else _writer(folder, caps, present)
    protocol = check_protocol(manifest, what=MANIFEST, writer=writer)
    listed = _listed(manifest, caps)
    if absent := sorted((required | set(listed)) - present):
        raise _bad("a file is missing", where=absent[0])
    if unlisted := sorted((present - {MANIFEST}) - set(listed)):
        raise _bad("there is a file that the manifest does not list", where=_shown(unlisted[0]))
    if sha256_bytes(canonical_json(manifest["files"]).encode()) != manifest["bundle_sha256"]:
        raise _bad("the manifest does not match its own hash", where=MANIFEST)
    content = {name: _read(folder / name, caps[name]) for name in listed}
    for name, data in content.items():
        if len(data) != listed[name]["size"]:
            raise _bad("the size differs from the manifest", where=name)
        if sha256_bytes(data) != listed[name]["sha256"]:
            raise _bad("the content differs from the manifest", where=name, remedy="copy the bundle anew")
    if sealed != _canonical(manifest):
        raise _bad("the manifest is not written as this program writes it", where=MANIFEST)
    return Unsealed(content, protocol, str(manifest["bundle_sha256"]))


def check_protocol(content: Mapping[str, Any], *, what: str, writer: str = "") -> int:
    """The protocol number; what is not known may mean anything and is refused.

    Parameters
    ----------
    content
        Object with a ``protocol``.
    what
        Where it stands.
    writer
        Version of the program that wrote it, if it says so.

    Raises
    ------
    InputError
        If this program does not read that protocol.
    """
    found = content.get("protocol")
    known = " or ".join(map(str, PROTOCOLS))
    if type(found) is not int or found < 1:
        raise _bad("there is no protocol number", where=what, expected=known, remedy="give a folder that crlm wrote")
    if found not in PROTOCOLS:
        by = f", written by radiomics_crlm {writer}" if writer else ""
        raise _bad(
            "the bundle was written in a newer format",
            where=what,
            expected=f"protocol {known}",
            got=f"protocol {found}{by}" if found < 10**6 else "a very large number",
            remedy=f"update this program{f' to {writer} or later' if writer else ''}, or train the model with this one",
        )
    return found


def _writer(folder: Path, caps: Mapping[str, int], present: Collection[str]) -> str:
    """Version of the program that wrote a bundle, as far as its description can be understood."""
    if DESCRIPTION not in present or DESCRIPTION not in caps:
        return ""
    try:
        described = parse_object(_read(folder / DESCRIPTION, caps[DESCRIPTION]), what=DESCRIPTION)
    except InputError:
        return ""
    versions = described.get("versions")
    found = versions.get("radiomics_crlm") if isinstance(versions, dict) else None
    return found if isinstance(found, str) and _VERSION.fullmatch(found) else ""


def parse_object(data: bytes, *, what: str) -> dict[str, Any]:
    """JSON object from bytes, refusing everything on which parsers disagree.

    >>> parse_object(b'{"a": [1, 0.5]}', what="example")
    {'a': [1, 0.5]}

    Raises
    ------
    InputError
        For text that is not UTF-8 or not JSON, repeated keys, NaN, infinite or oversized numbers, or deep nesting.
    """

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise _bad("a key occurs twice", where=what)
        return content

    def constant(_: str) -> NoReturn:
        raise _bad("a number is not finite", where=what)

    def real(text: str) -> float:
        number = float(text)
        return number if math.isfinite(number) else constant(text)

    def whole(text: str) -> int:
        return int(text) if len(text) <= 18 else constant(text)

    if data[:1] != b"{":
        raise _bad("this is no JSON object", where=what, got=_format(data))
    if _depth(data) > _MAX_DEPTH:
        raise _bad("the JSON is nested too deeply", where=what, expected=f"{_MAX_DEPTH} levels or fewer")
    try:
        content: dict[str, Any] = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=object_of,
            parse_constant=constant,
            parse_float=real,
            parse_int=whole,
        )
    except UnicodeDecodeError:
        raise _bad("the text is not UTF-8", where=what) from None
    except (ValueError, RecursionError):
        raise _bad("the text is not valid JSON", where=what) from None
    return content


def _format(data: bytes) -> str:
    """What bytes look like, in words.

    >>> _format(b""), _format(b"PK"), _format(b"?")
    ('nothing', 'a zip archive', 'something else')
    """
    if not data:
        return "nothing"
    return next((name for start, magic, name in _FORMATS if data.startswith(magic, start)), "something else")


def _depth(data: bytes) -> int:
    brackets = np.frombuffer(re.sub(rb"[^][{}]+", b"", _STRING.sub(b"", data)), dtype=np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return (canonical_json(manifest) + "\n").encode()


def _manifest(files: Mapping[str, bytes], protocol: int) -> dict[str, Any]:
    listed = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in files.items()}
    total = sha256_bytes(canonical_json(listed).encode())
    return {"protocol": protocol, "files": listed, "bundle_sha256": total}


def _listed(manifest: Mapping[str, Any], caps: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    files = manifest.get("files")
    if set(manifest) != {"protocol", "files", "bundle_sha256"} or not isinstance(files, dict):
        raise _bad("the manifest has other fields than it should", where=MANIFEST)
    for name, entry in files.items():
        if name not in caps:
            raise _bad("the manifest names a file that no bundle has", where=_shown(name))
        fields = entry if isinstance(entry, dict) else {}
        size, digest = fields.get("size"), fields.get("sha256")
        if set(fields) != {"size", "sha256"} or type(size) is not int or not isinstance(digest, str):
            raise _bad("a file is not described by size and sha256", where=f"{MANIFEST}: {name}")
        if not _SHA256.fullmatch(digest):
            raise _bad("a hash is not a SHA-256", where=f"{MANIFEST}: {name}")
    return files


def _entries(folder: Path) -> set[str]:
    """Names in the folder; only plain files are admissible."""
    if not folder.exists():
        raise InputError("the bundle is missing", expected=f"a folder with a {MANIFEST}", remedy="check the path")
    if not folder.is_dir():
        found = _format(_first_bytes(folder))
        raise InputError("a bundle is a folder, not a file", expected=f"a folder with a {MANIFEST}", got=found)
    if (folder / "MLmodel").is_file() and not (folder / MANIFEST).exists():
        remedy = "give the folder that the MLflow model names as its data"
        raise _bad("this is an MLflow model, not a bundle", expected=f"a file named {MANIFEST}", remedy=remedy)
    if not os.path.lexists(folder / MANIFEST):  # said before any name of a file, for this may be a folder of patients
        raise _bad("there is no manifest", expected=f"a file named {MANIFEST}")
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count > 20:
                raise _bad("there are more files than any bundle has")
            if entry.is_symlink():
                raise _bad("there is a symbolic link", where=_shown(entry.name), expected="plain files only")
            if not entry.is_file(follow_symlinks=False):
                raise _bad("there is something that is no plain file", where=_shown(entry.name))
    return set(os.listdir(folder))


def _open(path: Path) -> int:
    """A handle, without following a link put there since the listing, nor waiting for a pipe."""
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    return os.open(path, sum(flags, os.O_RDONLY))


def _first_bytes(path: Path) -> bytes:
    try:
        with os.fdopen(_open(path), "rb") as stream:
            return stream.read(512) if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else b"?"
    except OSError:
        return b"?"


def _read(path: Path, cap: int) -> bytes:
    try:
        handle = _open(path)
    except OSError:
        raise _bad("a file cannot be opened", where=path.name) from None
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _bad("there is something that is no plain file", where=path.name)
        if status.st_size > cap:
            raise _bad("a file is too large", where=path.name, expected=f"{cap} bytes or fewer")
        return stream.read(cap)


def _occupied(folder: Path) -> bool:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return True
    return folder.is_dir() and any(folder.iterdir())


def _confirm_same(folder: Path, content: Mapping[str, bytes], digest: str) -> str:
    refusal = InputError(
        "the folder already holds something else and is not overwritten",
        where=folder.name,
        remedy="choose another folder, or remove the old one",
    )
    if folder.is_symlink() or not folder.is_dir() or _names(folder) != set(content):
        raise refusal
    for name, data in content.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
            raise refusal
    return digest


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _remove(folder: Path, names: Mapping[str, bytes]) -> None:
    if folder.is_dir():
        for name in names:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _shown(name: str) -> str:
    """A name from the bundle, harmless on a screen."""
    return ascii(name[:60])


def _bad(what: str, *, where: str = "", expected: str = "", got: str = "", remedy: str = "") -> InputError:
    return InputError(f"the bundle is refused: {what}", where=where, expected=expected, got=got, remedy=remedy)
