"""Feature classes on one image of a region: levels and matrices once for all of them, then the formulas.

The only module that imports the feature classes of pyradiomics. They serve where a matrix is degenerate (see
`texture_formulas`) and as the list of what there is.
"""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import radiomics
from radiomics.base import RadiomicsFeaturesBase

from radiomics_crlm.features import matrices
from radiomics_crlm.features.first_order import first_order
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.features.surface import axis_eigenvalues, mesh_coefficients
from radiomics_crlm.features.texture_formulas import (
    glcm_features,
    gldm_features,
    glrlm_features,
    glszm_features,
    ngtdm_features,
)

SHAPE = "shape"
FIRST_ORDER = "firstorder"
Features = dict[str, float]


@functools.cache
def class_features(kind: str) -> tuple[str, ...]:
    """Names of the features of a class that are not deprecated, sorted.

    Examples
    --------
    >>> class_features("ngtdm")
    ('Busyness', 'Coarseness', 'Complexity', 'Contrast', 'Strength')
    """
    return tuple(sorted(n for n, gone in radiomics.getFeatureClasses()[kind].getFeatureNames().items() if not gone))


def c_extensions() -> bool:
    """Whether the compiled extensions of pyradiomics are there."""
    modules = (radiomics.cMatrices, radiomics.cShape)
    return all(not str(getattr(m, "__file__", ".py")).endswith(".py") for m in modules)


def shape_features(inside: np.ndarray, spacing: tuple[float, float, float]) -> Features:
    """Three-dimensional shape of a region.

    Parameters
    ----------
    inside
        Boolean array cropped to the box of the region, at least two voxels thick along each axis.
    spacing
        In mm, ``(x, y, z)``.
    """
    x, y, z = spacing
    surface, volume, diameters = mesh_coefficients(np.ascontiguousarray(inside), (z, y, x))
    least, minor, major = (float(v) for v in axis_eigenvalues(np.ascontiguousarray(inside), (z, y, x)))
    return {
        "MeshVolume": volume,
        "VoxelVolume": int(np.count_nonzero(inside)) * (z * x * y),
        "SurfaceArea": surface,
        "SurfaceVolumeRatio": surface / volume if volume else math.nan,
        "Sphericity": (36 * np.pi * volume**2) ** (1.0 / 3.0) / surface if surface else math.nan,
        "Maximum3DDiameter": diameters[3],
        "Maximum2DDiameterSlice": diameters[0],
        "Maximum2DDiameterColumn": diameters[1],
        "Maximum2DDiameterRow": diameters[2],
        "MajorAxisLength": _root(major) * 4,
        "MinorAxisLength": _root(minor) * 4,
        "LeastAxisLength": _root(least) * 4,
        "Elongation": _root(minor / major) if major > 0 else math.nan,
        "Flatness": _root(least / major) if major > 0 else math.nan,
    }


def _root(value: float) -> float:
    """Square root; none of a negative number."""
    return math.sqrt(value) if value >= 0 else math.nan


@dataclass(frozen=True)
class ImageFeatures:
    """Features of a region on one image.

    Parameters
    ----------
    profile
        Bins, force_2d and shift.
    voxel_volume
        In mm³.
    """

    profile: Profile
    voxel_volume: float

    def of(self, values: np.ndarray, inside: np.ndarray, kinds: Collection[str]) -> dict[str, Features]:
        """Features by class.

        Parameters
        ----------
        values, inside
            The image and the region, cropped to the box of the region, ``(z, y, x)``.
        kinds
            Classes to compute, shape not among them.

        Raises
        ------
        InputError
            Values that are not finite or cannot be put into bins.
        """
        region = values[inside]
        levels, _ = matrices.discretise(region, **self._bins())
        counts = np.bincount(levels)
        present = np.flatnonzero(counts)
        found: dict[str, Features] = {}
        if FIRST_ORDER in kinds:
            shift = self.profile.voxel_array_shift
            found[FIRST_ORDER] = first_order(region.astype(float), counts[present], self.voxel_volume, shift)
        texture = [kind for kind in kinds if kind != FIRST_ORDER]
        if texture:
            grid = np.zeros(inside.shape, dtype=np.int32)
            grid[inside] = levels
            found |= _texture(grid, present, texture, self.profile.force_2d)
        return {kind: {name: float(value) for name, value in found[kind].items()} for kind in kinds}

    def _bins(self) -> dict[str, Any]:
        """How levels are made."""
        lowest = None
        if self.profile.bins_from == "resegment_range" and self.profile.resegment_range is not None:
            lowest = self.profile.resegment_range[0]
        return {"bin_width": self.profile.bin_width, "bin_count": self.profile.bin_count, "lowest": lowest}


def _texture(levels: np.ndarray, present: np.ndarray, kinds: Collection[str], force_2d: bool) -> dict[str, Features]:
    """Texture classes of a region given as grey levels, 0 outside; ``present`` are the levels that occur."""
    n_levels, found = int(present[-1]), {}
    made = _matrices(levels, n_levels, kinds, force_2d)
    for kind in kinds:
        values: Features | None
        if kind == "glcm":
            values = glcm_features(made["glcm"], present, n_levels)
        elif kind == "glrlm":
            values = glrlm_features(made["glrlm"], present)
        elif kind == "glszm":
            values = glszm_features(made["glszm"], made["zone_sizes"], present)
        elif kind == "gldm":
            values = gldm_features(made["gldm"], present)
        else:
            values = ngtdm_features(made["ngtdm"])
        found[kind] = _by_engine(kind, levels, present, force_2d) if values is None else values
    return found


def _matrices(levels: np.ndarray, n_levels: int, kinds: Collection[str], force_2d: bool) -> dict[str, np.ndarray]:
    """Matrices of the classes asked for; those of all classes where they share work."""
    if len(kinds) > 1:
        return vars(matrices.texture_matrices(levels, n_levels, force_2d=force_2d))
    (kind,) = kinds
    if kind == "glszm":
        matrix, sizes = matrices.zone_sizes(levels, n_levels, force_2d)
        return {"glszm": matrix, "zone_sizes": sizes}
    if kind == "glrlm":
        return {"glrlm": matrices.glrlm(levels, n_levels, max(levels.shape), force_2d)[0]}
    if kind == "glcm":
        return {"glcm": matrices.glcm(levels, n_levels, force_2d)[0]}
    if kind == "gldm":
        return {"gldm": matrices.gldm(levels, n_levels, force_2d=force_2d)}
    return {"ngtdm": matrices.ngtdm(levels, n_levels, force_2d)}


def _by_engine(kind: str, levels: np.ndarray, present: np.ndarray, force_2d: bool) -> Features:
    """A class as pyradiomics computes it, from levels that are made already."""
    engine_class = radiomics.getFeatureClasses()[kind]
    features: RadiomicsFeaturesBase = engine_class.__new__(engine_class)  # its constructor would make the levels again
    features.__dict__ |= {
        "logger": logging.getLogger(engine_class.__module__),
        "settings": {"force2D": force_2d},
        "voxelBased": False,
        "symmetricalGLCM": True,
        "weightingNorm": None,
        "imageArray": levels.astype(int),
        "maskArray": levels > 0,
        "coefficients": {"grayLevels": present, "Ng": int(present[-1])},
        "enabledFeatures": {},
        "featureValues": {},
        "featureNames": engine_class.getFeatureNames(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # 0/0 in a feature becomes a NaN, which is flagged
        return {name: complex(value).real for name, value in features.execute().items()}
