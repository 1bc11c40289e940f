"""Read one DICOM CT or MR series from a folder."""

from __future__ import annotations

from pathlib import Path

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume


def read_series(folder: Path, *, case: str, max_voxels: int) -> Volume:
    """Read the one series of a folder."""
    raise CaseError("unsupported_format", "folders of DICOM files are not readable yet", where=case)
