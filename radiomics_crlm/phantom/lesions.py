"""Shape, place and change under treatment of simulated metastases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.phantom.anatomy import Anatomy, Grid
from radiomics_crlm.phantom.patients import SMALLEST_MM, Disease

# Lesions grow up to this factor at restaging; the gap at the first scan leaves room for a slice between two lesions.
LARGEST_GROWTH = 1.4
VANISHED_BELOW_MM = 6.0
_TOUCHING = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class Shape:
    """One metastasis: a rotated ellipsoid whose surface is perturbed by plane waves.

    ``radii_mm`` are the half axes, the first two in the axial plane; ``waves`` holds one row ``(kx, ky, kz, phase)`` a
    wave, with the wave vector in radians per unit of the normalised radius.
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    angle: float
    irregularity: float
    waves: np.ndarray

    @property
    def reach_mm(self) -> float:
        """Radius of a sphere that surely contains the lesion."""
        return self.radii_mm[0] * (1 + 2 * self.irregularity)

    def scaled(self, factor: float) -> Shape:
        """The same shape, larger or smaller."""
        radii = tuple(r * factor for r in self.radii_mm)
        return Shape(self.centre_mm, radii, self.angle, self.irregularity, self.waves)  # type: ignore[arg-type]


def place_lesions(rng: np.random.Generator, anatomy: Anatomy, disease: Disease) -> list[Shape]:
    """Draw shapes and places, largest first: inside the liver, apart from each other, resectable ones outside the
    remnant.

    Where a lesion of the planned size finds no room, a smaller one is placed; the number is always the planned one.

    Raises
    ------
    CrlmError
        If the liver has no room left for a lesion of the smallest size.
    """
    depth = ndimage.distance_transform_edt(anatomy.liver, sampling=anatomy.grid.sampling)[anatomy.liver]
    where = np.argwhere(anatomy.liver)
    x, y, z = (axis.ravel() for axis in anatomy.grid.axes())
    points = np.stack([x[where[:, 2]], y[where[:, 1]], z[where[:, 0]]], axis=1)
    cut = anatomy.cut[anatomy.liver]
    shapes: list[Shape] = []
    for diameter in disease.diameters_mm:
        shape = _draw_shape(rng, diameter)
        while True:
            free = _clear_of(points, shapes, shape, gap=anatomy.grid.spacing[2] + 2.0)
            at = _choose(rng, shape, points, depth, cut if disease.resectable else None, free)
            if at is not None:
                shapes.append(Shape(at, shape.radii_mm, shape.angle, shape.irregularity, shape.waves))
                break
            if 2 * shape.radii_mm[0] <= SMALLEST_MM * 0.8:
                raise CrlmError("the simulated liver has no room for a further lesion", remedy="choose another seed")
            shape = shape.scaled(0.85)
    return shapes


def render_lesions(anatomy: Anatomy, shapes: list[Shape | None]) -> tuple[np.ndarray, np.ndarray]:
    """Masks of all lesions.

    Returns
    -------
    labels, depth
        Label map ``(z, y, x)`` with label ``k + 1`` for ``shapes[k]`` (None is a vanished lesion), and the normalised
        radius of each lesion voxel (0 centre, 1 surface; 0 outside the lesions). Two lesions never touch, not even
        diagonally.
    """
    labels = np.zeros(anatomy.grid.shape, dtype=np.uint8)
    radius = np.zeros(anatomy.grid.shape, dtype=np.float32)
    for label, shape in enumerate(shapes, start=1):
        if shape is None:
            continue
        box = _box(anatomy.grid, shape)
        level = _level(anatomy.grid, shape, box)
        others = labels[box] > 0
        inside = (level <= 1) & anatomy.liver[box] & ~ndimage.binary_dilation(others, _TOUCHING)
        inside = _largest_part(inside)
        labels[box][inside] = label
        radius[box][inside] = level[inside]
    return labels, radius


def respond(rng: np.random.Generator, shapes: list[Shape], log_ratio: float) -> list[Shape | None]:
    """Shapes at restaging: every diameter times about ``exp(log_ratio)``; small remains vanish (None)."""
    after: list[Shape | None] = []
    for number, shape in enumerate(shapes):
        factor = float(np.exp(np.clip(log_ratio + 0.08 * rng.standard_normal(), -1.2, np.log(LARGEST_GROWTH))))
        diameter = 2 * shape.radii_mm[0] * factor
        after.append(shape.scaled(factor) if diameter >= VANISHED_BELOW_MM or number == 0 else None)
    return after


def sorted_by_volume(labels: np.ndarray, shapes: list[Shape]) -> tuple[np.ndarray, list[Shape]]:
    """Labels and shapes renumbered so that label 1 has the most voxels."""
    volumes = np.bincount(labels.ravel(), minlength=len(shapes) + 1)[1:]
    order = np.argsort(-volumes, kind="stable")
    table = np.zeros(len(shapes) + 1, dtype=np.uint8)
    table[order + 1] = np.arange(1, len(shapes) + 1)
    return table[labels], [shapes[i] for i in order]


def _draw_shape(rng: np.random.Generator, diameter: float) -> Shape:
    radius = diameter / 2
    directions = rng.standard_normal((3, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = np.column_stack([directions * rng.uniform(1.5, 3.5, size=(3, 1)), rng.uniform(0, 2 * np.pi, size=3)])
    ratios = rng.uniform((0.72, 0.75), (1.0, 1.0))
    return Shape(
        centre_mm=(0.0, 0.0, 0.0),
        radii_mm=(radius, radius * float(ratios[0]), radius * float(ratios[1])),
        angle=float(rng.uniform(0, np.pi)),
        irregularity=float(rng.uniform(0.0, 0.12)),
        waves=waves,
    )


def _clear_of(points: np.ndarray, placed: list[Shape], shape: Shape, *, gap: float) -> np.ndarray:
    free = np.ones(len(points), dtype=bool)
    for other in placed:
        free &= np.linalg.norm(points - other.centre_mm, axis=1) > other.reach_mm + shape.reach_mm + gap
    return free


def _choose(
    rng: np.random.Generator,
    shape: Shape,
    points: np.ndarray,
    depth: np.ndarray,
    cut: np.ndarray | None,
    free: np.ndarray,
) -> tuple[float, float, float] | None:
    """A liver voxel as the centre; a lesion may come nearer to the capsule and to the cut when nothing else is free."""
    radius = shape.radii_mm[0]
    for share in (1.0, 0.8, 0.6):
        allowed = free & (depth >= share * radius)
        if cut is not None:
            allowed &= cut <= -share * radius
        candidates = np.flatnonzero(allowed)
        if len(candidates):
            x, y, z = points[candidates[int(rng.integers(len(candidates)))]]
            return float(x), float(y), float(z)
    return None


def _box(grid: Grid, shape: Shape) -> tuple[slice, slice, slice]:
    """Slices ``(z, y, x)`` that contain the shape, with room for a dilation of a voxel."""
    slices = []
    for axis, centre in zip(grid.axes(), shape.centre_mm, strict=True):
        near = np.flatnonzero(np.abs(axis.ravel() - centre) <= shape.reach_mm)
        slices.append(slice(max(int(near[0]) - 1, 0), int(near[-1]) + 2))
    return slices[2], slices[1], slices[0]


def _level(grid: Grid, shape: Shape, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Normalised radius of the voxels of a box: 1 on the perturbed surface."""
    x, y, z = (axis - centre for axis, centre in zip(grid.axes(), shape.centre_mm, strict=True))
    x, y, z = x[:, :, box[2]], y[:, box[1], :], z[box[0], :, :]
    along = (np.cos(shape.angle) * x + np.sin(shape.angle) * y) / shape.radii_mm[0]
    across = (np.cos(shape.angle) * y - np.sin(shape.angle) * x) / shape.radii_mm[1]
    up = z / shape.radii_mm[2]
    bumps = sum(np.sin(kx * along + ky * across + kz * up + phase) for kx, ky, kz, phase in shape.waves)
    level: np.ndarray = np.sqrt(along**2 + across**2 + up**2) / (1 + shape.irregularity * bumps / np.sqrt(3))
    return level


def _largest_part(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask, _TOUCHING)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == int(sizes.argmax()))
