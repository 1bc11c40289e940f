"""Does the installed feature engine compute what the definitions say? A phantom small enough to check by hand."""

from __future__ import annotations

import importlib.metadata
import math
import sysconfig
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiomics_crlm.features.extract import c_extensions, engine, extract_scan
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.regions import measure_lesions

_RELATIVE_TOLERANCE = 1e-12
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# pyradiomics adds this inside its logarithms, so that log 0 is defined.
_EPSILON = float(np.spacing(1))


@dataclass(frozen=True)
class Check:
    """One comparison with a value derived by hand."""

    name: str
    expected: float
    got: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether ``got`` lies within ``tolerance`` (absolute) of ``expected``; NaN never does."""
        return abs(self.got - self.expected) <= self.tolerance


def engine_info() -> dict[str, str]:
    """What computes the features, for the record of a run: versions, extensions, the interpreter's compiler flags."""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "SimpleITK", "PyWavelets")}
    return {
        "engine": engine(),
        "c_extensions": "compiled" if c_extensions() else "absent",
        "cflags": str(sysconfig.get_config_var("CFLAGS") or ""),
        **versions,
    }


def phantom_selftest() -> list[Check]:
    """Extract a phantom built in memory and compare with values derived by hand.

    Lesion 1 is a 2 x 2 x 2 cube with grey levels 10 (lower slice) and 40 (upper slice); lesion 2 a 3 x 3 x 3 cube of
    the constant 60; lesion 3 a sphere of radius 10 mm in voxels of 1 x 1 x 2 mm. The bin width is 25, so that 10 and 40
    fall into bins 1 and 2.

    Derivation for lesion 1: 28 voxel pairs in 13 directions. The 4 pairs along x, 4 along y and 4 of the diagonals
    within slices join equal levels; the 4 pairs along z and 12 of the remaining diagonals join 10 with 40. Features are
    averaged over directions: contrast is 0 in the 4 in-plane directions and 1 in the other 9, so 9/13; joint entropy
    is 1 bit in each (two equal cells), so 1.
    """
    volume, mask = _phantom()
    profile = Profile(
        name="selftest",
        description="phantom",
        modality="CT",
        resample_mm=None,
        bin_width=25,
        feature_classes=("shape", "firstorder", "glcm"),
        min_voxels=2,
    )
    table = extract_scan(volume, mask, profile, case="phantom")
    sizes = measure_lesions(mask)
    return [*_two_levels(table.iloc[0]), *_constant(table.iloc[1]), *_sphere(table.iloc[2], sizes.iloc[2])]


def _phantom() -> tuple[Volume, Volume]:
    """Image and label mask, voxels of 1 x 1 x 2 mm."""
    image = np.zeros((20, 40, 40), dtype=np.int16)
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[2:4, 2:4, 2:4] = 1
    image[2, 2:4, 2:4], image[3, 2:4, 2:4] = 10, 40
    labels[8:11, 3:6, 3:6] = 2
    image[8:11, 3:6, 3:6] = 60
    z, y, x = np.indices(image.shape)
    labels[(x - 25) ** 2 + (y - 25) ** 2 + (2 * (z - 10)) ** 2 <= 100] = 3
    image[labels == 3] = 100
    spacing, origin = (1.0, 1.0, 2.0), (0.0, 0.0, 0.0)
    return Volume(image, spacing, origin, _IDENTITY), Volume(labels, spacing, origin, _IDENTITY)


def _two_levels(row: pd.Series) -> list[Check]:
    """Half 10, half 40."""
    half = 0.5 + _EPSILON
    first = {
        "firstorder_Mean": 25.0,
        "firstorder_Variance": 225.0,
        "firstorder_Energy": 4 * 10.0**2 + 4 * 40.0**2,
        "firstorder_TotalEnergy": 2 * (4 * 10.0**2 + 4 * 40.0**2),
        "firstorder_Entropy": -math.log2(half),
        "firstorder_Uniformity": 0.5,
        "firstorder_Range": 30.0,
        "glcm_Contrast": 9 / 13,
        "glcm_JointEntropy": -math.log2(half),
        "glcm_JointAverage": 1.5,
        "shape_VoxelVolume": 16.0,
    }
    return _compare("two levels", row, first)


def _constant(row: pd.Series) -> list[Check]:
    """One grey level: no variance, no entropy, all pairs equal."""
    values = {
        "firstorder_Mean": 60.0,
        "firstorder_Variance": 0.0,
        "firstorder_Entropy": -math.log2(1.0 + _EPSILON),
        "firstorder_Energy": 27 * 3600.0,
        "glcm_Contrast": 0.0,
        "glcm_JointEnergy": 1.0,
        "shape_VoxelVolume": 54.0,
    }
    return _compare("constant", row, values)


def _sphere(row: pd.Series, size: pd.Series) -> list[Check]:
    """Sphere of radius 10 mm around a voxel centre.

    Slice ``k`` holds the lattice points of a circle of squared radius ``100 - (2 k)^2``. The poles are voxel centres,
    so the outermost face centres lie 11 mm (z) and 10.5 mm (x, y) from the centre.
    """
    volume = 2.0 * sum(_lattice_points(100 - (2 * k) ** 2) for k in range(-5, 6))
    mesh, diameter = (float(row[f"lesion__original_shape_{name}"]) for name in ("MeshVolume", "Maximum3DDiameter"))
    return [
        *_compare("sphere", row, {"shape_VoxelVolume": volume, "shape_Maximum3DDiameter": 22.0}),
        Check("sphere: shape_MeshVolume", volume, mesh, 0.02 * volume),  # the mesh cuts corners
        Check("sphere: volume_ml", volume / 1000, float(size["volume_ml"]), 1e-12),
        Check("sphere: longest_3d_mm", diameter, float(size["longest_3d_mm"]), 1e-9),
        Check("sphere: longest_axial_mm", 21.0, float(size["longest_axial_mm"]), 1e-9),
    ]


def _lattice_points(squared_radius: int) -> int:
    """Integer points in a circle around the origin (Gauss circle problem, by the sum-of-two-squares theorem).

    >>> [_lattice_points(n) for n in (0, 1, 2, 4, 100)]
    [1, 5, 9, 13, 317]
    """
    odd = range(1, squared_radius + 1, 2)
    return 1 + 4 * sum(squared_radius // n if n % 4 == 1 else -(squared_radius // n) for n in odd)


def _compare(name: str, row: pd.Series, expected: dict[str, float]) -> list[Check]:
    """Checks of one lesion, to a relative 1e-12."""
    return [
        Check(
            f"{name}: {feature}",
            value,
            float(row[f"lesion__original_{feature}"]),
            _RELATIVE_TOLERANCE * max(1.0, abs(value)),
        )
        for feature, value in expected.items()
    ]
