"""Quality gate of a scan: what a careful reader would check before trusting numbers from it.

Every bound below is a choice of this project unless its comment names a source; the table keeps the measured value
beside the verdict, so that another bound can be applied afterwards. Nothing is excluded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from scipy import ndimage

from radiomics_crlm.imaging.geometry import HU_OF_AIR, Volume
from radiomics_crlm.imaging.phase import DOUBTFUL, FAIL, PASS, portal_venous_phase, worst
from radiomics_crlm.imaging.regions import body_axis, peeled
from radiomics_crlm.imaging.scan import LoadedScan, ScanFiles

# Slices above 2 mm blur small lesions (rule `detectability`); 5 mm is the usual archive thickness.
SLICE_MM = (5.0, 10.0)
IN_PLANE_MM = (1.5, 3.0)
# Longest to shortest voxel side: texture across slices compares other lengths than within them.
ANISOTROPY = (7.0, 12.0)
# A circular field of view leaves 21 % of a square to padding.
PADDING_SHARE = (0.30, 0.60)
# Area of the liver on the last slice (or row) of the image, of its largest section.
CUT_SHARE = (0.0, 0.10)
NOISE_HU = (20.0, 35.0)
MR_NOISE_SHARE = (0.20, 0.40)
# Dense bone ends near 2000 HU; metal saturates at 3071 HU.
METAL_HU, METAL_REACH_MM = 2500, 50.0
METAL_SHARE = (1e-5, 1e-3)
SEQUENCES = {
    "CT": ("portal_venous", "arterial", "delayed", "unenhanced"),
    "MR": (
        "hbp",
        "t1",
        "t2",
        "dwi",
        "adc",
        "arterial",
        "portal_venous",
        "delayed",
        "unenhanced",
        "in_phase",
        "out_phase",
    ),
}
_SOFT_TISSUE_HU = (0, 200)
_MIN_VOXELS = 100
# Slices, evenly spread, in which noise is measured without a liver mask; more cost seconds and change it little.
_NOISE_SLICES = 24
_TILE = 5
_TO_SD = 1.4826  # median absolute deviation to standard deviation of a normal distribution


@dataclass(frozen=True)
class Check:
    """One check of one scan. ``value`` is in ``unit``; ``reason`` says it in words, without anything of the patient."""

    check: str
    verdict: str
    value: float | None
    unit: str
    reason: str


CHECK_COLUMNS = tuple(field.name for field in fields(Check))


def check_scan(
    image: Volume,
    *,
    modality: str,
    sequence: str,
    anatomy: Mapping[str, np.ndarray],
    tumour: np.ndarray | None = None,
    contrast_delay_s: float | None = None,
) -> tuple[Check, ...]:
    """All checks that the modality and the masks allow.

    Parameters
    ----------
    image
        The scan; HU for CT.
    anatomy
        Boolean arrays ``(z, y, x)`` by role (``regions.ROLES``); checks that need an absent one are left out or say so.
    tumour
        All lesions.
    contrast_delay_s
        Seconds from the start of injection to the scan, where known.

    Returns
    -------
    tuple of Check
        ``phase`` (CT named portal_venous), ``sequence_role``, ``slice_spacing``, ``in_plane_spacing``, ``anisotropy``,
        ``field_of_view``, ``noise``, and for CT ``hu_padding`` and ``metal``.
    """
    return tuple(_checks(image, modality, sequence, anatomy, tumour, contrast_delay_s))


def check_loaded(found: LoadedScan, files: ScanFiles) -> tuple[Check, ...]:
    """`check_scan` of a scan that was read from a manifest."""
    return check_scan(
        found.image,
        modality=files.modality,
        sequence=files.sequence,
        anatomy=found.anatomy,
        tumour=found.tumour,
        contrast_delay_s=found.contrast_delay_s,
    )


def verdict_of(checks: tuple[Check, ...]) -> str:
    """The worst verdict of a scan."""
    return worst(tuple(c.verdict for c in checks))


def quality_table(checks: tuple[Check, ...]) -> pd.DataFrame:
    """Checks as rows, columns of `Check`."""
    return pd.DataFrame([asdict(c) for c in checks], columns=list(CHECK_COLUMNS))


def _checks(
    image: Volume,
    modality: str,
    sequence: str,
    anatomy: Mapping[str, np.ndarray],
    tumour: np.ndarray | None,
    delay_s: float | None,
) -> Iterator[Check]:
    if modality == "CT" and sequence == "portal_venous":
        phase = portal_venous_phase(image.array, anatomy, tumour=tumour, delay_s=delay_s)
        yield Check("phase", phase.verdict, phase.liver_hu, "HU", "; ".join(phase.reasons))
    yield _role(modality, sequence)
    yield from _grid(image)
    yield _field_of_view(image, anatomy.get("liver"), modality)
    yield _noise(image, _plain_liver(anatomy, tumour), modality)
    if modality == "CT":
        yield _padding(image, anatomy.get("liver"))
        yield _metal(image, anatomy.get("liver"))


def _graded(check: str, value: float, unit: str, bounds: tuple[float, float], text: str) -> Check:
    """Pass up to the first bound, doubtful up to the second, fail beyond."""
    verdict = PASS if value <= bounds[0] else DOUBTFUL if value <= bounds[1] else FAIL
    return Check(check, verdict, float(value), unit, text)


def _role(modality: str, sequence: str) -> Check:
    known = sequence in SEQUENCES[modality]
    text = "known role" if known else "unknown role; expected one of " + ", ".join(SEQUENCES[modality])
    return Check("sequence_role", PASS if known else DOUBTFUL, None, "", text)


def _grid(image: Volume) -> Iterator[Check]:
    axis = body_axis(image)
    sampling = image.spacing[::-1]
    across = sampling[axis]
    in_plane = max(s for k, s in enumerate(sampling) if k != axis)
    ratio = max(sampling) / min(sampling)
    note = " (above 2 mm small lesions blur)" if across > 2 else ""
    yield _graded("slice_spacing", across, "mm", SLICE_MM, f"slices {across:.3g} mm apart{note}")
    yield _graded("in_plane_spacing", in_plane, "mm", IN_PLANE_MM, f"pixels of {in_plane:.3g} mm in the plane")
    yield _graded("anisotropy", ratio, "", ANISOTROPY, f"voxels {ratio:.3g} times as long as wide")


def _field_of_view(image: Volume, liver: np.ndarray | None, modality: str) -> Check:
    """Whether the image ends, or its padding begins, inside the liver."""
    if liver is None or not liver.any():
        return Check("field_of_view", DOUBTFUL, None, "", "no liver mask: nobody can tell whether the liver is cut")
    cut = 0.0
    for axis in range(3):
        area = liver.sum(axis=tuple(k for k in range(3) if k != axis))
        cut = max(cut, float(area[[0, -1]].max() / area.max()))
    if modality == "CT":
        cut = max(cut, float((image.array[liver] <= HU_OF_AIR).mean()))
    text = "liver complete" if cut == 0 else f"liver cut: {100 * cut:.3g} % of its largest section lie on the border"
    return _graded("field_of_view", cut, "", CUT_SHARE, text)


def _plain_liver(anatomy: Mapping[str, np.ndarray], tumour: np.ndarray | None) -> np.ndarray | None:
    """Liver without vessels and tumour, one voxel away from any border in the plane."""
    if "liver" not in anatomy:
        return None
    plain = anatomy["liver"]
    for other in (tumour, anatomy.get("hepatic_veins"), anatomy.get("portal_vein")):
        if other is not None:
            plain = plain & ~other
    plain = peeled(plain)
    return plain if int(plain.sum()) >= _MIN_VOXELS else None


def _noise(image: Volume, liver: np.ndarray | None, modality: str) -> Check:
    """Robust standard deviation in liver tissue, or in the evenest soft tissue of a CT."""
    if liver is not None:
        values = image.array[liver].astype(float)
        middle = float(np.median(values))
        spread = _TO_SD * float(np.median(np.abs(values - middle)))
        if modality == "CT":
            return _graded("noise", spread, "HU", NOISE_HU, f"robust SD {spread:.3g} HU in the liver")
        share = spread / abs(middle) if middle else float("inf")
        text = f"robust SD {100 * share:.3g} % of the liver signal"
        return _graded("noise", share, "", MR_NOISE_SHARE, text)
    step = -(-image.array.shape[0] // _NOISE_SLICES)
    spread = _evenest(image.array[::step].astype(np.float32)) if modality == "CT" else float("nan")
    if np.isnan(spread):
        return Check("noise", DOUBTFUL, None, "", "no liver mask and no even tissue to measure noise in")
    return _graded("noise", spread, "HU", NOISE_HU, f"SD {spread:.3g} HU in the evenest soft tissue")


def _evenest(array: np.ndarray) -> float:
    """Tenth percentile of the SD in tiles of 5 x 5 pixels whose mean is that of soft tissue; NaN without any."""
    if min(array.shape[1:]) < _TILE:
        return float("nan")
    mean = _over_tiles(array)
    spread = np.sqrt(np.maximum(_over_tiles(array**2) - mean**2, 0.0))
    soft = (mean > _SOFT_TISSUE_HU[0]) & (mean < _SOFT_TISSUE_HU[1]) & (spread > 0)
    return float(np.percentile(spread[soft], 10)) if int(soft.sum()) >= _MIN_VOXELS else float("nan")


def _over_tiles(array: np.ndarray) -> np.ndarray:
    """Mean of each whole tile in the plane of the last two axes."""
    whole = array[:, : array.shape[1] // _TILE * _TILE, : array.shape[2] // _TILE * _TILE]
    rows = np.add.reduceat(whole, np.arange(0, whole.shape[1], _TILE), axis=1)
    return np.asarray(np.add.reduceat(rows, np.arange(0, whole.shape[2], _TILE), axis=2) / _TILE**2)


def _padding(image: Volume, liver: np.ndarray | None) -> Check:
    """Voxels at or below air: outside the field of view."""
    padded = image.array <= HU_OF_AIR
    share = np.count_nonzero(padded) / padded.size
    inside = liver is not None and bool((padded & liver).any())
    text = f"{100 * share:.3g} % of the voxels are padding" + (", some of them in the liver" if inside else "")
    return (
        Check("hu_padding", FAIL, share, "", text) if inside else _graded("hu_padding", share, "", PADDING_SHARE, text)
    )


def _metal(image: Volume, liver: np.ndarray | None) -> Check:
    """Share of voxels above 2500 HU within 50 mm of the liver (box), or in the whole image."""
    array, where = image.array, "the image"
    if liver is not None and liver.any():
        room = [int(np.ceil(METAL_REACH_MM / s)) for s in reversed(image.spacing)]
        box = ndimage.find_objects(liver.view(np.uint8))[0]
        near = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, room, strict=True))
        array, where = array[near], "the surroundings of the liver"
    share = np.count_nonzero(array > METAL_HU) / array.size
    text = f"{100 * share:.2g} % of {where} above {METAL_HU} HU" if share else f"no metal in {where}"
    return _graded("metal", share, "", METAL_SHARE, text)
