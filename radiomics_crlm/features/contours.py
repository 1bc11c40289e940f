"""Regions drawn a little differently: grown, shrunk, or with a wavy outline. Lengths are mm, whatever the voxels.

Distances are those of `radiomics_crlm.imaging.rings`: from the interpolated surface of the region, so that a coarse
spacing between slices counts as what it is. Two regions never come to overlap: a voxel of another region is not taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import label_boxes
from radiomics_crlm.imaging.rings import distance_inside, distance_outside, fine_steps

WAVE_MM = 5.0
"""Standard deviation of the Gaussian that smooths the displacement of an outline; bumps are some 15 mm wide."""
_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_SPARE_VOXELS = 2
_REACH_SD = 4.0
# Between the half step by which the distance to a flat surface is too long, and the nothing of a strongly curved one.
_SURPLUS = 0.25
_LARGEST_MM = 50.0

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Growth:
    """The region larger or smaller by a share of its volume, or by a distance.

    Parameters
    ----------
    amount
        Above 0 grows, below 0 shrinks. A share of the volume (0.15: 15 % more) or mm.
    unit
        ``fraction``: the voxels nearest to the surface are added or removed until the number of voxels is the wanted
        one, rounded to a voxel; among equally near ones chance decides. ``mm``: all voxels whose centre lies within
        the distance from the surface.

    Raises
    ------
    ConfigError
        For an amount that is 0, not above -1 (a share), or beyond 50 mm.
    """

    amount: float
    unit: Literal["fraction", "mm"] = "fraction"

    def __post_init__(self) -> None:
        low, high = (-1.0, 10.0) if self.unit == "fraction" else (-_LARGEST_MM, _LARGEST_MM)
        if not low < self.amount <= high or self.amount == 0:
            raise ConfigError(
                "the growth of a region is out of range",
                expected=f"above {low:g}, at most {high:g}, not 0",
                got=f"{self.amount:g} ({self.unit})",
            )

    @property
    def name(self) -> str:
        """``grow:0.15``, ``grow:-1mm``."""
        return f"grow:{self.amount:g}{'mm' if self.unit == 'mm' else ''}"

    @property
    def random(self) -> bool:
        """Whether repeating it makes sense."""
        return False

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """The image as it is, and the changed mask; a region may vanish."""
        labels = mask.array.copy()
        for label, box in _regions(mask):
            wide = _grown(box, self._reach_mm(mask, label, box), mask)
            inside = mask.array[wide] == label
            if self.amount > 0:
                labels[wide][self._added(inside, labels[wide] == 0, mask.spacing, generator)] = label
            else:
                labels[wide][self._removed(inside, mask.spacing, generator)] = 0
        return image, replace(mask, array=labels)

    def _reach_mm(self, mask: Volume, label: int, box: Box) -> float:
        """How far beyond the region new voxels may lie."""
        if self.amount < 0 or self.unit == "mm":
            return max(self.amount, 0.0)
        # Of all shapes of a volume the ball has the least surface, hence the thickest layer; twice that for regions
        # that can grow on one side only.
        volume = 1000 * mask.voxel_volume_ml * int((mask.array[box] == label).sum())
        radius = (3 * volume / (4 * np.pi)) ** (1 / 3)
        return float(2 * radius * ((1 + self.amount) ** (1 / 3) - 1))

    def _added(
        self, inside: np.ndarray, free: np.ndarray, spacing: tuple[float, float, float], generator: np.random.Generator
    ) -> np.ndarray:
        distance = signed_distance(inside, spacing)
        if self.unit == "mm":
            return np.asarray(free & (distance <= self.amount))
        return _nearest(free, distance, round(self.amount * int(inside.sum())), generator)

    def _removed(
        self, inside: np.ndarray, spacing: tuple[float, float, float], generator: np.random.Generator
    ) -> np.ndarray:
        depth = -signed_distance(inside, spacing)
        if self.unit == "mm":
            return np.asarray(inside & (depth <= -self.amount))
        return _nearest(inside, depth, round(-self.amount * int(inside.sum())), generator)


@dataclass(frozen=True)
class Displacement:
    """The outline moved in and out by a smooth random distance: the region drawn by another hand.

    The signed distance to the surface is compared with a stationary Gaussian field of mean 0, the given standard
    deviation and the correlation of ``WAVE_MM``, independent of the image. This is not the contour randomisation of
    mirp, which adds and removes whole SLIC supervoxels with a probability that depends on how much of them the region
    covers, and so follows edges of the image. Parts that the field cuts off from the region as it was are dropped.

    Parameters
    ----------
    sd_mm
        Standard deviation of the displacement in mm.

    Raises
    ------
    ConfigError
        If it is not above 0, or beyond 50 mm.
    """

    sd_mm: float

    def __post_init__(self) -> None:
        if not 0 < self.sd_mm <= _LARGEST_MM:
            raise ConfigError(
                "the displacement of an outline is out of range", expected="mm above 0", got=f"{self.sd_mm:g}"
            )

    @property
    def name(self) -> str:
        """``randomise:1mm``."""
        return f"randomise:{self.sd_mm:g}mm"

    @property
    def random(self) -> bool:
        """Whether repeating it makes sense."""
        return True

    def apply(self, image: Volume, mask: Volume, generator: np.random.Generator) -> tuple[Volume, Volume]:
        """The image as it is, and the changed mask; a small region may vanish."""
        labels = mask.array.copy()
        for label, box in _regions(mask):
            wide = _grown(box, _REACH_SD * self.sd_mm, mask)
            inside = mask.array[wide] == label
            free = (labels[wide] == 0) & (mask.array[wide] == 0)  # what another region gave up stays empty
            waves = self.sd_mm * smooth_field(generator, inside.shape, mask.spacing, WAVE_MM)
            moved = (signed_distance(inside, mask.spacing) < waves) & (inside | free)
            parts, _ = ndimage.label(moved, structure=_TOUCHING)
            kept = np.unique(parts[inside & moved])
            labels[wide][inside] = 0
            labels[wide][moved & np.isin(parts, kept)] = label
        return image, replace(mask, array=labels)


def signed_distance(inside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance in mm of every voxel centre to the surface of a region, negative inside.

    Parameters
    ----------
    inside
        Boolean ``(z, y, x)`` with at least one true voxel.
    spacing
        Voxel size in mm, ``(x, y, z)``.
    """
    surplus = _SURPLUS * float(fine_steps(inside.shape, spacing).mean())
    outer, inner = (measure(inside, spacing) - surplus for measure in (distance_outside, distance_inside))
    return np.where(inside, -np.maximum(inner, 0.0), np.maximum(outer, 0.0))


def smooth_field(
    generator: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float], length_mm: float
) -> np.ndarray:
    """Stationary Gaussian field of mean 0 and variance 1, ``(z, y, x)``: white noise smoothed by a Gaussian.

    Parameters
    ----------
    spacing
        Voxel size in mm, ``(x, y, z)``.
    length_mm
        Standard deviation of the Gaussian; the correlation of two points d mm apart is ``exp(-d^2 / (4 length^2))``.
    """
    sigmas = [length_mm / step for step in reversed(spacing)]
    margin = [int(np.ceil(4 * sigma)) for sigma in sigmas]
    field = generator.standard_normal([n + 2 * m for n, m in zip(shape, margin, strict=True)])
    for axis, (sigma, reach) in enumerate(zip(sigmas, margin, strict=True)):
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        field = ndimage.convolve1d(field, kernel / np.linalg.norm(kernel), axis=axis, mode="constant")
    return np.asarray(field[tuple(slice(m, m + n) for n, m in zip(shape, margin, strict=True))])


def _regions(mask: Volume) -> Iterator[tuple[int, Box]]:
    """Labels of the mask with their boxes, smallest label first."""
    yield from label_boxes(mask.array).items()


def _grown(box: Box, reach_mm: float, mask: Volume) -> Box:
    """The box with room on all sides, within the array."""
    room = [int(np.ceil(reach_mm / step)) + _SPARE_VOXELS for step in reversed(mask.spacing)]
    return tuple(
        slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in zip(box, room, mask.array.shape, strict=True)
    )


def _nearest(allowed: np.ndarray, distance: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """The ``count`` allowed voxels of least distance (all of them, if there are fewer)."""
    candidates = np.flatnonzero(allowed)
    lots = generator.random(candidates.size)
    order = np.lexsort((lots, distance.ravel()[candidates]))
    chosen = np.zeros(allowed.size, dtype=bool)
    chosen[candidates[order[:count]]] = True
    return chosen.reshape(allowed.shape)
