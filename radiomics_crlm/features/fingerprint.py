"""What a result depends on, as hashes: the bytes of the files of a scan, what they mean, and the code that reads."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from radiomics_crlm.errors import CaseError
from radiomics_crlm.features.parts import engine
from radiomics_crlm.imaging.scan import ScanFiles
from radiomics_crlm.imaging.volume import FORMATS, path_inside
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, sha256_file

_LIBRARIES = ("numpy", "scipy", "SimpleITK", "pydicom", "numba")


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of a scan.

    Parameters
    ----------
    voxels
        What its features depend on besides the settings: image and mask files, roles, choice of series, modality.
    scan
        What its measurements depend on: also the phase or sequence and the contrast delay.
    state
        Size and time of change of each file, to notice that someone writes to them; never stored.
    """

    voxels: str
    scan: str
    state: tuple[tuple[int, int], ...]


def fingerprint(files: ScanFiles, root: Path) -> Fingerprint | None:
    """Hash the files of a scan and what the manifest says about them, except whose they are and where they lie.

    Returns None if a file cannot be read: then there is nothing to file results under, and the reader of the scan says
    what is wrong.
    """
    try:
        paths = _paths(files, root)
        state = tuple(_state(path) for path in paths)
        contents = [_content(path) for path in paths]
    except (CaseError, OSError):
        return None
    masks = contents[len(files.images) :]
    voxels = digest(
        {
            "images": contents[: len(files.images)],
            "masks": [[mask, roles] for mask, (_, roles) in zip(masks, files.masks, strict=True)],
            "series": files.series,
            "modality": files.modality,
            "code": code_version(),
        }
    )
    return Fingerprint(voxels, digest([voxels, files.sequence, files.contrast_delay_s]), state)


def changed(files: ScanFiles, root: Path, before: Fingerprint) -> bool:
    """Whether someone wrote to the files of a scan since they were hashed."""
    try:
        return tuple(_state(path) for path in _paths(files, root)) != before.state
    except (CaseError, OSError):
        return True


def size_on_disk(files: ScanFiles, root: Path) -> int:
    """Bytes of the image of a scan, as a guess of how long it will take; 0 if it cannot be read."""
    try:
        return sum(_state(path)[0] for path in _paths(files, root)[: len(files.images)])
    except (CaseError, OSError):
        return 0


@functools.cache
def code_version() -> str:
    """Hash of the code that results depend on: readers, measurements, extraction, and the libraries they use.

    It is made from the sources themselves, so that no change can be forgotten.
    """
    sources = {
        f"{package}/{file.name}": sha256_bytes(file.read_bytes())
        for package in ("imaging", "features")
        for file in resources.files(f"radiomics_crlm.{package}").iterdir()
        if file.name.endswith(".py")
    }
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return digest({"sources": sources, "libraries": libraries, "engine": engine()})


def digest(content: Any) -> str:
    """SHA-256 of plain values."""
    return sha256_bytes(canonical_json(content, indent=None).encode("utf-8"))


def _paths(files: ScanFiles, root: Path) -> list[Path]:
    named = [*files.images, *(mask for mask, _ in files.masks)]
    return [path_inside(root, name, case=files.case) for name in named]


def _files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def _state(path: Path) -> tuple[int, int]:
    """Bytes of a file or of the files of a folder, and the last change of any."""
    found = [one.stat() for one in _files_of(path)]
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def _content(path: Path) -> Any:
    """Hash of a file with its kind, or of the files of a folder with their names, which decide their order."""
    if path.is_dir():
        return [[one.name, sha256_file(one)] for one in _files_of(path)]
    return [next((e for e in FORMATS if path.name.lower().endswith(e)), ""), sha256_file(path)]
