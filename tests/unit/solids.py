"""Solids on a grid, whose volumes, rings and diameters are known in closed form."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.imaging.geometry import Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# Spacing (x, y, z) in mm: fine and coarse, isotropic and with slices up to six times as thick as a pixel.
SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 0.7), (0.8, 0.8, 2.5), (0.8, 0.8, 5.0), (2.2, 2.2, 3.0)]

Point = tuple[float, float, float]


class Scene:
    """A grid with a little asymmetry, so that no voxel centre lies on the surface of a solid by accident."""

    def __init__(self, size_mm: Point, spacing: Point, shift: Point = (0.21, 0.13, 0.07)) -> None:
        counts = [int(np.ceil(s / step)) + 1 for s, step in zip(size_mm, spacing, strict=True)]
        x, y, z = (((np.arange(n) - (n - 1) / 2) + o) * step for n, step, o in zip(counts, spacing, shift, strict=True))
        self.x, self.y, self.z = x[None, None, :], y[None, :, None], z[:, None, None]
        self.spacing, self.origin = spacing, (float(x[0]), float(y[0]), float(z[0]))
        self.shape = (len(z), len(y), len(x))

    def sphere(self, radius: float, centre: Point = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Voxels whose centre lies inside."""
        return self.ellipsoid((radius, radius, radius), centre)

    def ellipsoid(self, radii: Point, centre: Point = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Voxels whose centre lies inside."""
        level = sum(((a - c) / r) ** 2 for a, c, r in zip((self.x, self.y, self.z), centre, radii, strict=True))
        return np.asarray(level <= 1)

    def box(self, half: Point, centre: Point = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Voxels whose centre lies inside."""
        inside = np.ones(self.shape, dtype=bool)
        for axis, middle, reach in zip((self.x, self.y, self.z), centre, half, strict=True):
            inside &= np.abs(axis - middle) <= reach
        return inside

    def labels(self, *regions: np.ndarray) -> Volume:
        """Label mask with region k as label k + 1."""
        array = np.zeros(self.shape, dtype=np.int32)
        for label, region in enumerate(regions, start=1):
            array[region] = label
        return Volume(array, self.spacing, self.origin, IDENTITY)

    def volume(self, array: np.ndarray) -> Volume:
        """An array on this grid."""
        return Volume(array, self.spacing, self.origin, IDENTITY)
