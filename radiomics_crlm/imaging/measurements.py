"""What prognosis needs to know of a scan, measured on its masks, and whether the chart says the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import bounding_box, label_boxes, measure_lesions
from radiomics_crlm.imaging.rings import Ring, all_lesions, core_and_rim, peritumoural_ring, planned_remnant

RING_MM = 10.0
RIM_MM = 5.0
# Chart and mask sizes of one lesion differ by the reader and the plane: the larger of 5 mm and 20 %, the change that
# RECIST 1.1 takes for real growth. A choice of this project.
SIZE_TOLERANCE_MM, SIZE_TOLERANCE_PCT = 5.0, 20.0
CHART_ITEMS = {"n_liver_mets": "n_lesions", "largest_met_mm": "largest_axial_mm", "bilobar": "bilobar"}
# Inputs of the rules that masks can give, and the field of `ScanMeasurement` that gives them.
MEASURED_INPUTS = CHART_ITEMS | {
    "tumour_volume_ml": "total_volume_ml",
    "tlv_ml": "liver_volume_ml",
    "flr_ml": "remnant_volume_ml",
    "sflr_pct": "sflr_pct",
}

_IN_PLACE = [
    "portal_vein_mm",
    "hepatic_vein_mm",
    "surface_mm",
    "ring_ml",
    "ring_achieved",
    "ring_too_clipped",
    "core_ml",
    "rim_ml",
]
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class ScanMeasurement:
    """Tumour burden and volumes of one scan. None: the mask that it takes is absent.

    ``liver_volume_ml`` includes the lesions, ``remnant_volume_ml`` does not; ``sflr_pct`` is the remnant in per cent of
    the liver without tumour; ``closest_*`` are the smallest distances of any lesion in mm, 0 when touching.
    """

    n_lesions: int
    largest_axial_mm: float
    total_volume_ml: float
    tbs: float
    bilobar: bool | None = None
    liver_volume_ml: float | None = None
    remnant_volume_ml: float | None = None
    sflr_pct: float | None = None
    closest_portal_vein_mm: float | None = None
    closest_hepatic_vein_mm: float | None = None
    closest_surface_mm: float | None = None


def measure_scan(
    lesions: Volume,
    anatomy: Mapping[str, np.ndarray],
    *,
    distances: bool = False,
    sizes: pd.DataFrame | None = None,
) -> ScanMeasurement:
    """Measure a scan.

    Parameters
    ----------
    lesions
        Label mask, each positive label one lesion.
    anatomy
        Boolean arrays ``(z, y, x)`` by role (``regions.ROLES``), on the grid of the mask.
    distances
        Whether to measure the smallest distances too, which takes longer than all the rest.
    sizes
        `measure_lesions` of the lesions, if that is there already.
    """
    found = _distances(lesions, anatomy) if distances else {}
    return _summary(lesions, anatomy, measure_lesions(lesions) if sizes is None else sizes, found)


def measure_in_place(
    lesions: Volume, anatomy: Mapping[str, np.ndarray], *, ring_mm: float = RING_MM, rim_mm: float = RIM_MM
) -> tuple[pd.DataFrame, ScanMeasurement]:
    """Measure every lesion with its surroundings, and the scan.

    Returns
    -------
    lesions
        `measure_lesions` and ``portal_vein_mm``, ``hepatic_vein_mm``, ``surface_mm`` (distances, 0 when touching, null
        without the mask), ``ring_ml``, ``ring_achieved`` (fraction left after clipping to liver minus other lesions
        minus vessels), ``ring_too_clipped``, ``core_ml`` and ``rim_ml``.
    scan
        As `measure_scan`, smallest distances included.
    """
    table, distances = measure_lesions(lesions), _distances(lesions, anatomy)
    rows = []
    for label in table["lesion"].tolist():
        ring = lesion_ring(lesions, label, anatomy, width_mm=ring_mm)
        core, rim = (int(part.sum()) * lesions.voxel_volume_ml for part in core_and_rim(lesions, label, rim_mm))
        rows.append(
            {
                **distances[label],
                "ring_ml": ring.volume_ml,
                "ring_achieved": ring.achieved,
                "ring_too_clipped": ring.too_clipped,
                "core_ml": core,
                "rim_ml": rim,
            }
        )
    return pd.concat([table, pd.DataFrame(rows, columns=_IN_PLACE)], axis=1), _summary(
        lesions, anatomy, table, distances
    )


def lesion_ring(lesions: Volume, label: int, anatomy: Mapping[str, np.ndarray], *, width_mm: float = RING_MM) -> Ring:
    """Ring of a lesion, clipped to the liver minus other lesions minus vessels as far as the masks exist."""
    vessels = [anatomy[role] for role in ("hepatic_veins", "portal_vein") if role in anatomy]
    return peritumoural_ring(lesions, label, width_mm, liver=anatomy.get("liver"), vessels=vessels)


def is_bilobar(tumour: np.ndarray, left_liver: np.ndarray, right_liver: np.ndarray, sampling: np.ndarray) -> bool:
    """Whether tumour lies in both hemilivers; tumour that their masks leave out belongs to the nearer one.

    Parameters
    ----------
    tumour, left_liver, right_liver
        Boolean ``(z, y, x)``.
    sampling
        Voxel size in mm in array order ``(z, y, x)``.
    """
    if not (left_liver.any() and right_liver.any()):
        return False
    orphans = tumour & ~left_liver & ~right_liver
    left, right = (bool((tumour & side).any()) for side in (left_liver, right_liver))
    if orphans.any() and not (left and right):
        places = np.argwhere(orphans) * sampling
        to_left, to_right = (
            cKDTree(np.argwhere(side) * sampling).query(places)[0] for side in (left_liver, right_liver)
        )
        left, right = left or bool((to_left < to_right).any()), right or bool((to_right < to_left).any())
    return left and right


def is_bilobar_by_plane(lesions: Volume, point_mm: Iterable[float], normal: Iterable[float]) -> bool:
    """Whether voxel centres of lesions lie on both sides of a plane (LPS, mm) between the hemilivers."""
    index = np.argwhere(lesions.array > 0)[:, ::-1]
    places = index @ lesions.index_to_mm.T + np.array(lesions.origin)
    side = (places - np.array(list(point_mm))) @ np.array(list(normal))
    return bool((side < 0).any() and (side > 0).any())


def gap_mm(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float, float]) -> float | None:
    """Smallest distance in mm between the surfaces of two regions, 0 when they overlap or touch (even at a corner).

    A surface is the set of the centres of its voxel faces, as for the diameters (`regions`).

    Parameters
    ----------
    one, other
        Boolean ``(z, y, x)``.
    spacing
        Voxel size in mm, ``(x, y, z)``.

    Returns
    -------
    float or None
        None if one of the regions is empty.

    Examples
    --------
    >>> a = np.array([[[True, False, False, False]]])
    >>> gap_mm(a, a[:, :, ::-1], (0.5, 1.0, 5.0))
    1.0
    """
    if (one & other).any():
        return 0.0
    return _gap(_surface(one, spacing), _surface(other, spacing))


@dataclass(frozen=True)
class _Surface:
    """Border voxels of a region (indices) and the centres of their outer faces (mm), each as a search tree."""

    voxels: cKDTree
    faces: cKDTree


def _surface(region: np.ndarray, spacing: tuple[float, float, float]) -> _Surface | None:
    """Surface of a region, or None if it is empty."""
    box = bounding_box(region)
    if box is None:
        return None
    start = np.array([s.start for s in box])
    padded = np.pad(region[box], 1)
    sampling = np.array(spacing[::-1], dtype=float)
    faces = []
    for axis in range(3):
        for step in (-1, 1):
            half = np.zeros(3)
            half[axis] = step / 2
            faces.append(np.argwhere(padded & ~np.roll(padded, -step, axis)) + half)
    border = padded & ~ndimage.binary_erosion(padded, _FACES)
    return _Surface(cKDTree(np.argwhere(border) + start - 1), cKDTree((np.concatenate(faces) + start - 1) * sampling))


def _gap(one: _Surface | None, other: _Surface | None) -> float | None:
    if one is None or other is None:
        return None
    few, many = sorted((one, other), key=lambda s: s.faces.n)
    if many.voxels.query(few.voxels.data, p=np.inf, distance_upper_bound=1.5)[0].min() <= 1:
        return 0.0
    # The bound of a few spares the others most of their search, and leaves the smallest as it is.
    bound = float(many.faces.query(few.faces.data[::64])[0].min())
    return min(bound, float(many.faces.query(few.faces.data, distance_upper_bound=bound)[0].min()))


def measured_row(measured: ScanMeasurement) -> dict[str, object]:
    """Fields of a measurement as cells of a table (None stays null)."""
    return asdict(measured)


def cross_check(measured: ScanMeasurement | None, chart: Mapping[str, object]) -> list[dict[str, object]]:
    """Compare the masks of a scan with the chart of its patient: number, size, bilobar.

    Parameters
    ----------
    measured
        Measurement of the scan that the chart speaks of; None if there is none.
    chart
        Cells of the clinical table by canonical name; None or NaN is unknown.

    Returns
    -------
    list of dict
        One row per item: ``item``, ``verdict`` (``agree``, ``disagree``, ``chart_missing``, ``masks_missing``),
        ``from_masks`` and ``from_chart`` (bilobar as 1 or 0), ``difference`` (masks minus chart), ``tolerance``. A
        number agrees when equal, a size within the larger of 5 mm and 20 % of the chart's. Nothing is resolved here.
    """
    rows: list[dict[str, object]] = []
    for item, name in CHART_ITEMS.items():
        mask, said = _number(getattr(measured, name, None)), _number(chart.get(item))
        tolerance = 0.0
        if item == "largest_met_mm" and said is not None:
            tolerance = max(SIZE_TOLERANCE_MM, SIZE_TOLERANCE_PCT / 100 * said)
        difference = None if mask is None or said is None else mask - said
        if mask is None:
            verdict = "masks_missing"
        elif difference is None:
            verdict = "chart_missing"
        else:
            verdict = "agree" if abs(difference) <= tolerance + 1e-9 else "disagree"
        rows.append(
            {
                "item": item,
                "verdict": verdict,
                "from_masks": mask,
                "from_chart": said,
                "difference": difference,
                "tolerance": tolerance,
            }
        )
    return rows


def fill_from_masks(
    chart: Mapping[str, object], measured: ScanMeasurement | None
) -> tuple[dict[str, object], dict[str, str]]:
    """Inputs of the clinical rules: the chart's value where it has one, else the masks'.

    Returns
    -------
    inputs, sources
        The chart with the gaps filled that masks can fill (`MEASURED_INPUTS`), and for each of those inputs where its
        value comes from: ``chart``, ``masks`` or ``unknown``. A value of the chart is never replaced.

    Examples
    --------
    >>> scan = ScanMeasurement(n_lesions=2, largest_axial_mm=31.0, total_volume_ml=20.0, tbs=3.7)
    >>> inputs, sources = fill_from_masks({"n_liver_mets": 3, "largest_met_mm": None}, scan)
    >>> inputs["n_liver_mets"], inputs["largest_met_mm"], sources["largest_met_mm"], sources["sflr_pct"]
    (3, 31.0, 'masks', 'unknown')
    """
    inputs, sources = dict(chart), {}
    for item, name in MEASURED_INPUTS.items():
        value = getattr(measured, name, None)
        if _number(chart.get(item)) is not None:
            sources[item] = "chart"
        elif value is not None:
            inputs[item], sources[item] = value, "masks"
        else:
            sources[item] = "unknown"
    return inputs, sources


def _summary(
    lesions: Volume,
    anatomy: Mapping[str, np.ndarray],
    table: pd.DataFrame,
    distances: Mapping[int, Mapping[str, float | None]],
) -> ScanMeasurement:
    tumour, voxel = all_lesions(lesions), lesions.voxel_volume_ml
    count = len(table)
    longest = float(table["longest_axial_mm"].max()) if count else 0.0
    liver = remnant = percent = None
    if "liver" in anatomy:
        liver = int((anatomy["liver"] | tumour).sum()) * voxel
    if "remnant" in anatomy:
        remnant = int(planned_remnant(anatomy["remnant"], lesions).sum()) * voxel
    if liver is not None and remnant is not None:
        healthy = liver - int(tumour.sum()) * voxel
        percent = 100.0 * remnant / healthy if healthy > 0 else None
    bilobar = None
    if "left_liver" in anatomy and "right_liver" in anatomy:
        sampling = np.array(lesions.spacing[::-1])
        bilobar = is_bilobar(tumour, anatomy["left_liver"], anatomy["right_liver"], sampling)
    return ScanMeasurement(
        n_lesions=count,
        largest_axial_mm=longest,
        total_volume_ml=float(table["volume_ml"].sum()),
        tbs=float(np.hypot(longest / 10.0, count)),
        bilobar=bilobar,
        liver_volume_ml=liver,
        remnant_volume_ml=remnant,
        sflr_pct=percent,
        closest_portal_vein_mm=_closest(distances, "portal_vein_mm"),
        closest_hepatic_vein_mm=_closest(distances, "hepatic_vein_mm"),
        closest_surface_mm=_closest(distances, "surface_mm"),
    )


def _closest(distances: Mapping[int, Mapping[str, float | None]], name: str) -> float | None:
    known = [d for row in distances.values() if (d := row[name]) is not None]
    return min(known) if known else None


def _distances(lesions: Volume, anatomy: Mapping[str, np.ndarray]) -> dict[int, dict[str, float | None]]:
    """Distances of each lesion to the vessels and to the surface of the liver."""
    regions = {
        "portal_vein_mm": anatomy.get("portal_vein"),
        "hepatic_vein_mm": anatomy.get("hepatic_veins"),
        "surface_mm": _outer_shell(lesions, anatomy),
    }
    goals = {name: None if r is None else _surface(r, lesions.spacing) for name, r in regions.items()}
    found: dict[int, dict[str, float | None]] = {}
    for label, box in label_boxes(lesions.array).items():
        inside = np.zeros(lesions.array.shape, dtype=bool)
        inside[box] = lesions.array[box] == label
        surface = _surface(inside, lesions.spacing) if any(goals.values()) else None
        found[label] = {name: _gap(surface, goal) for name, goal in goals.items()}
        for name, region in regions.items():
            if region is not None and (region[box] & inside[box]).any():
                found[label][name] = 0.0
    return found


def _outer_shell(lesions: Volume, anatomy: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Voxels just outside the liver, vessels and lesions counted as liver; the end of the image is no surface."""
    if "liver" not in anatomy:
        return None
    whole = anatomy["liver"] | all_lesions(lesions)
    for role in ("hepatic_veins", "portal_vein"):
        whole = whole | anatomy.get(role, False)
    shell = np.zeros(whole.shape, dtype=bool)
    found = bounding_box(whole)
    if found is not None:
        z, y, x = (slice(max(s.start - 1, 0), s.stop + 1) for s in found)
        part = ndimage.binary_fill_holes(whole[z, y, x])
        shell[z, y, x] = ndimage.binary_dilation(part, _FACES) & ~part
    return shell


def _number(value: object) -> float | None:
    """A cell as a number (yes is 1), or None if unknown."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    number = float(value)  # type: ignore[arg-type]
    return None if np.isnan(number) else number
