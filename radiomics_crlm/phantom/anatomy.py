"""Body, liver, vessels and the planned remnant of a simulated patient, on the grid of the scan.

The patient lies on the back, axes as in LPS: x to the patient's left, y to the back, z to the head. Coordinates are mm
from the centre of the volume; a slim adult is scaled by 0.9 to 1.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.imaging.geometry import Volume

LIVER, REMNANT, HEPATIC_VEINS, PORTAL_VEIN = 1, 2, 3, 4
ANATOMY_ROLES = f"liver=1,2,3,4;remnant={REMNANT};hepatic_veins={HEPATIC_VEINS};portal_vein={PORTAL_VEIN}"
COLUMNS, ROWS = 112, 96
COVERAGE_MM = 132.0
RIGHT_LOBE_SHARE = 0.62
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

Point = tuple[float, float, float]

_RIGHT_LOBE = ((-38.0, -2.0, 0.0), (62.0, 64.0, 56.0))
_LEFT_LOBE = ((36.0, -28.0, 8.0), (60.0, 36.0, 38.0))
_SPLEEN = ((80.0, 30.0, 8.0), (20.0, 32.0, 38.0))
_SPINE, _AORTA = ((0.0, 58.0), 19.0), ((12.0, 31.0), 10.0)

# Polylines in mm and radii in mm: right, middle and left hepatic vein to their confluence; trunk and branches of the
# portal vein.
_VEINS: tuple[tuple[tuple[Point, ...], float], ...] = (
    (((0, 26, 42), (-36, 16, 22), (-66, 6, -12)), 4.5),
    (((0, 26, 42), (-12, -4, 22), (-22, -28, -14)), 4.5),
    (((0, 26, 42), (20, -8, 26), (52, -28, 16)), 4.0),
)
_PORTAL: tuple[tuple[tuple[Point, ...], float], ...] = (
    (((6, 12, -44), (-8, 2, -16)), 6.0),
    (((-8, 2, -16), (-34, 8, -10), (-58, 20, 4)), 5.0),
    (((-34, 8, -10), (-52, -20, -8)), 4.0),
    (((-8, 2, -16), (14, -22, 0), (44, -30, 2)), 4.5),
)


@dataclass(frozen=True)
class Grid:
    """Voxel grid: ``shape`` is ``(z, y, x)``, ``spacing`` ``(x, y, z)`` in mm, ``origin`` in mm."""

    shape: tuple[int, int, int]
    spacing: Point
    origin: Point

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates in mm from the centre of the volume as broadcastable arrays ``(x, y, z)``."""
        x, y, z = (
            (np.arange(n) - (n - 1) / 2) * step for n, step in zip(reversed(self.shape), self.spacing, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing)) / 1000

    @property
    def sampling(self) -> tuple[float, float, float]:
        """Spacing in array order ``(z, y, x)``."""
        return self.spacing[2], self.spacing[1], self.spacing[0]


@dataclass(frozen=True)
class Anatomy:
    """Boolean arrays of the organs, all of the grid's shape; ``cut`` is the signed distance in mm from the liver cut.

    ``cut`` is positive on the side of the remnant and depends on x, y and z; ``lobe_x`` is the x coordinate in mm
    between the hemilivers (the right one has the smaller x).
    """

    grid: Grid
    body: np.ndarray
    fat: np.ndarray
    spine: np.ndarray
    aorta: np.ndarray
    spleen: np.ndarray
    liver: np.ndarray
    hepatic_veins: np.ndarray
    portal_vein: np.ndarray
    cut: np.ndarray
    lobe_x: float


def draw_anatomy(rng: np.random.Generator, *, remnant_pct: float, remnant_left: bool) -> Anatomy:
    """Draw a patient's anatomy.

    Parameters
    ----------
    rng
        Generator of the anatomy stream.
    remnant_pct
        Share of the liver volume on the remnant's side of the cut, per cent (before vessels and lesions are taken
        away).
    remnant_left
        Whether the remnant is the left part.
    """
    scale = rng.uniform(0.9, 1.1)
    grid = _draw_grid(rng, scale)
    x, y, z = (axis / scale for axis in grid.axes())
    wobble = _plane_waves(rng, (x, y, z), wavelength=70.0, terms=4)
    liver = (_ellipsoid((x, y, z), *_RIGHT_LOBE) < 1 + 0.05 * wobble) | (
        _ellipsoid((x, y, z), *_LEFT_LOBE) < 1 + 0.05 * wobble
    )
    ring = (x / 118) ** 2 + (y / 92) ** 2
    body = np.broadcast_to(ring < 1, grid.shape)
    liver &= np.broadcast_to((x / 112) ** 2 + (y / 86) ** 2 < 1, grid.shape)
    spine, aorta = (
        np.broadcast_to((x - cx) ** 2 + (y - cy) ** 2 < radius**2, grid.shape) for (cx, cy), radius in (_SPINE, _AORTA)
    )
    liver &= ~spine & ~aorta
    tilt = rng.uniform(-0.25, 0.25, size=2)
    cut = np.where(remnant_left, 1.0, -1.0) * (x + tilt[0] * y + tilt[1] * z) * scale
    cut = np.broadcast_to(cut, grid.shape) - np.quantile(np.broadcast_to(cut, grid.shape)[liver], 1 - remnant_pct / 100)
    return Anatomy(
        grid=grid,
        body=body,
        fat=body & np.broadcast_to((x / 108) ** 2 + (y / 82) ** 2 >= 1, grid.shape),
        spine=spine,
        aorta=aorta,
        spleen=(_ellipsoid((x, y, z), *_SPLEEN) < 1) & ~liver,
        liver=liver,
        hepatic_veins=liver & _tubes((x, y, z), _VEINS),
        portal_vein=liver & _tubes((x, y, z), _PORTAL),
        cut=cut,
        lobe_x=float(np.quantile(np.broadcast_to(grid.axes()[0], grid.shape)[liver], RIGHT_LOBE_SHARE)),
    )


def anatomy_labels(anatomy: Anatomy, lesions: np.ndarray, *, sflr_pct: float) -> np.ndarray:
    """Label map ``(z, y, x)``: 1 liver, 2 remnant, 3 hepatic veins, 4 portal vein; lesions keep the label below them.

    The cut is moved in parallel so that remnant without vessels and lesions is ``sflr_pct`` per cent of the liver
    without lesions.
    """
    vessels = anatomy.hepatic_veins | anatomy.portal_vein
    healthy = anatomy.liver & (lesions == 0)
    distances = np.sort(anatomy.cut[healthy & ~vessels])[::-1]
    wanted = min(len(distances) - 1, round(sflr_pct / 100 * int(healthy.sum())))
    labels = anatomy.liver.astype(np.uint8) * LIVER
    labels[anatomy.liver & (anatomy.cut > distances[wanted])] = REMNANT
    labels[anatomy.hepatic_veins] = HEPATIC_VEINS
    labels[anatomy.portal_vein] = PORTAL_VEIN
    return labels


def as_volume(array: np.ndarray, grid: Grid) -> Volume:
    """An array ``(z, y, x)`` placed on the patient's grid."""
    return Volume(array, grid.spacing, grid.origin, _IDENTITY)


def _draw_grid(rng: np.random.Generator, scale: float) -> Grid:
    in_plane = round(2.2 * scale * rng.uniform(1.0, 1.06), 3)
    thickness = float(rng.choice([3.0, 4.0, 5.0]))
    slices = int(np.ceil(COVERAGE_MM * scale / thickness))
    origin = tuple(float(v) for v in np.round(rng.uniform(-200, 200, size=3), 1))
    return Grid((slices, ROWS, COLUMNS), (in_plane, in_plane, thickness), origin)  # type: ignore[arg-type]


def _ellipsoid(at: Sequence[np.ndarray], centre: Point, radii: Point) -> np.ndarray:
    """Normalised squared distance: 1 on the surface."""
    return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True)))


def _plane_waves(rng: np.random.Generator, at: Sequence[np.ndarray], *, wavelength: float, terms: int) -> np.ndarray:
    """Smooth random field of about unit amplitude: a sum of plane waves of random direction and phase."""
    field: np.ndarray = np.zeros(())
    for _ in range(terms):
        direction = rng.standard_normal(3)
        direction *= 2 * np.pi / (wavelength * np.linalg.norm(direction))
        phase = rng.uniform(0, 2 * np.pi)
        field = field + np.sin(sum(k * a for k, a in zip(direction, at, strict=True)) + phase)
    return field / np.sqrt(terms / 2)


def _tubes(at: Sequence[np.ndarray], tubes: Sequence[tuple[tuple[Point, ...], float]]) -> np.ndarray:
    """Voxels whose centre lies within the radius of a polyline."""
    shape = np.broadcast_shapes(*(a.shape for a in at))
    inside = np.zeros(shape, dtype=bool)
    for points, radius in tubes:
        for start, end in itertools.pairwise(points):
            inside |= _segment_distance_squared(at, start, end) < radius**2
    return inside


def _segment_distance_squared(at: Sequence[np.ndarray], start: Point, end: Point) -> np.ndarray:
    step = np.subtract(end, start)
    along = sum((a - s) * d for a, s, d in zip(at, start, step, strict=True)) / float(step @ step)
    along = np.clip(along, 0.0, 1.0)
    return np.asarray(sum((a - s - along * d) ** 2 for a, s, d in zip(at, start, step, strict=True)))
