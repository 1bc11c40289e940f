"""Radiomic features of the lesions of one scan: the only module that imports pyradiomics.

Values equal those of a plain ``RadiomicsFeatureExtractor.execute`` on the same image and mask, bit for bit. Three
things make it faster: the diagnostics are off, image and mask are prepared once for all lesions, and only a part of the
image is resampled, on pyradiomics' own grid. The mask is always resampled whole: a crop would break ties of the
nearest-neighbour interpolation differently. See `_resample` for how the part of the image is chosen.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import radiomics
import SimpleITK as sitk
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from radiomics_crlm.features.parts import (
    SHAPE,
    Region,
    RegionFeatures,
    assemble,
    assemble_regions,
    concluded,
    engine,
    feature_names,
    part_features,
    part_hashes,
    part_names,
)
from radiomics_crlm.features.profiles import Profile, engine_image_types, engine_settings
from radiomics_crlm.imaging.normalise import correct_bias, scale_to_tissue
from radiomics_crlm.imaging.regions import as_label_mask
from radiomics_crlm.imaging.volume import Volume, check_same_geometry, to_itk

__all__ = [
    "PreparedScan",
    "Region",
    "RegionFeatures",
    "assemble",
    "assemble_regions",
    "c_extensions",
    "engine",
    "extract_scan",
    "feature_names",
    "part_features",
    "part_hashes",
    "part_names",
]

# The influence of a voxel on cubic B-spline coefficients falls by 0.27 per voxel: below double precision after 28, and
# what rounding keeps of it dies out over the voxels after that.
_CROP_MARGIN = 48
# Rounding noise of an interpolated value: index error 1e-13 times a gradient of some 1000 grey levels per voxel.
_NOISE = 1e-8
_INTEGER_TYPES = (sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkUInt32, sitk.sitkInt32)
_ROUNDING = 1e-9
# What the engine raises on regions and images that it cannot handle.
_ENGINE_ERRORS = (
    ArithmeticError,
    AssertionError,
    IndexError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def c_extensions() -> bool:
    """Whether the matrices and meshes are computed by the compiled extensions."""
    modules = (radiomics.cMatrices, radiomics.cShape)
    return all(not str(getattr(m, "__file__", ".py")).endswith(".py") for m in modules)


def extract_scan(
    image: Volume,
    lesion_mask: Volume,
    profile: Profile,
    *,
    case: str,
    anatomy: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Features of every lesion of a scan, one row per label of the mask, sorted by label.

    Parameters
    ----------
    image, lesion_mask
        The scan, and a mask on the same grid in which each positive label is one lesion.
    profile
        Settings; lengths in mm, grey levels in HU (CT) or in units of the normalised image (MR).
    case
        Key of the scan for messages.
    anatomy
        Boolean arrays by role, for profiles with a reference tissue.

    Returns
    -------
    DataFrame
        ``lesion, status, reason, flags, profile, settings_hash, engine`` and the columns of `feature_names`.
        ``status`` is ``failed`` with a reason (``one_voxel``, ``too_few_voxels``, ``too_thin``, ``engine_refused``,
        ``no_values``), and all features null, where a lesion cannot be measured. Flags, separated by ``;``:
        ``touches_border`` (the lesion reaches the border of the image and may go on beyond it), ``several_parts``
        (more than one 26-connected component), ``shape_3d_undefined`` (one voxel thick before or after resampling, so
        that the 3-D shape features are null), ``nan:NAME`` and ``missing:IMAGE`` (the engine gave no finite value),
        ``flat`` (one grey level) and ``few_levels:IMAGE`` (not flat, but a single grey level after binning): texture
        features are the engine's conventional constants there.

    Raises
    ------
    CaseError
        If image and mask do not fit, the mask is empty or not integer, or the reference tissue is not there
        (``no_reference_tissue``, ``dark_reference_tissue``).
    """
    scan = PreparedScan(image, lesion_mask, profile, case=case, anatomy=anatomy)
    return assemble([scan.features(region) for region in scan.regions if region.role == "lesion"], profile)


class PreparedScan:
    """A scan made ready once for all its regions.

    Parameters
    ----------
    image, lesion_mask, profile, case, anatomy
        As for `extract_scan`; ``anatomy`` also holds the organs that ``profile.regions`` asks for. The liver is the
        union of its labels and the lesions, since masks may leave lesions out; the remnant is without tumour.
    max_bytes
        Regions that need more memory than this fail with ``too_large_for_memory``; none: no bound.

    Attributes
    ----------
    regions
        Lesions by label, then the organs that the profile asks for and that exist.

    Raises
    ------
    CaseError
        As `extract_scan`.
    """

    def __init__(
        self,
        image: Volume,
        lesion_mask: Volume,
        profile: Profile,
        *,
        case: str,
        anatomy: Mapping[str, np.ndarray] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        lesion_mask, _ = check_same_geometry(image, as_label_mask(lesion_mask, case=case), case=case)
        self.profile, self.max_bytes = profile, max_bytes
        tumour = lesion_mask.array > 0
        image = _prepared(image, tumour, profile, anatomy or {}, case)
        boxes = {
            Region("lesion", n): box
            for n, box in enumerate(ndimage.find_objects(lesion_mask.array), start=1)
            if box is not None
        }
        self._masks: dict[str, Volume] = {"lesion": lesion_mask}
        for role in (r for r in ("liver", "remnant") if r in profile.regions and r in (anatomy or {})):
            organ = (anatomy or {})[role] | tumour if role == "liver" else (anatomy or {})[role] & ~tumour
            mask = replace(lesion_mask, array=organ.astype(np.int32))
            if organ.any():
                self._masks[role], boxes[Region(role)] = mask, ndimage.find_objects(mask.array)[0]
        self._boxes = boxes
        with _quiet_engine():
            self._scans = {role: _Scan(image, mask, profile) for role, mask in self._masks.items()}

    @property
    def regions(self) -> tuple[Region, ...]:
        return tuple(self._boxes)

    def features(self, region: Region, known: Mapping[str, Mapping[str, float]] | None = None) -> RegionFeatures:
        """Features of one region.

        Parameters
        ----------
        known
            Parts that were computed before with the same hash (`part_hashes`) for the same pixels and region; they are
            not computed again.
        """
        box = self._boxes[region]
        inside = self._masks[region.role].array[box] == max(region.label, 1)
        reason = self._unfit(inside)
        if reason:
            return RegionFeatures(region, "failed", reason)
        about = _about(inside, box, self._masks[region.role].array.shape)
        parts = dict(known or {})
        if set(part_names(self.profile)) - set(parts):
            with _quiet_engine():
                found = self._scans[region.role].parts(max(region.label, 1), box)
            if found is None:
                return RegionFeatures(region, "failed", "engine_refused", ";".join(about))
            parts = {**found, **parts}
        return concluded(region, parts, self.profile, about)

    def _unfit(self, inside: np.ndarray) -> str:
        """Why a region cannot be measured at all, or nothing."""
        count = int(inside.sum())
        if count == 1:
            return "one_voxel"
        if count < self.profile.min_voxels:
            return "too_few_voxels"
        return "too_thin" if sum(n > 1 for n in inside.shape) < 2 else ""


def _about(inside: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> list[str]:
    """Flags of the region on the grid of the image: ``touches_border``, ``several_parts`` (26-connected)."""
    border = any(s.start == 0 or s.stop == n for s, n in zip(box, shape, strict=True))
    several = int(ndimage.label(inside, structure=np.ones((3, 3, 3)))[1]) > 1
    return ["touches_border"] * border + ["several_parts"] * several


def _prepared(
    image: Volume, tumour: np.ndarray, profile: Profile, anatomy: Mapping[str, np.ndarray], case: str
) -> Volume:
    """The image with the intensities that a profile asks for; unchanged for most."""
    if profile.bias_correction is not None:
        wanted = profile.bias_correction
        image = correct_bias(image, shrink=wanted.shrink, iterations=wanted.iterations)
    if profile.reference_tissue is not None:
        image = scale_to_tissue(image, profile.reference_tissue, anatomy, tumour=tumour, case=case)
    return image


class _Scan:
    """Image and mask, prepared once for all lesions."""

    def __init__(self, image: Volume, mask: Volume, profile: Profile) -> None:
        self.profile = profile
        self.labels = mask.array
        self.extractor = _extractor(profile)
        self.mask = sitk.Cast(to_itk(mask), sitk.sitkUInt32)
        self.image = to_itk(image)
        if profile.normalize is not None:  # over the whole image, hence before any crop
            self.image = imageoperations.normalizeImage(self.image, **self.extractor.settings)

    def parts(self, label: int, box: tuple[slice, ...]) -> dict[str, dict[str, float]] | None:
        """Features of one region by part; none if the engine refuses it."""
        image, mask = self._part(box)
        self.extractor.box = box
        try:
            raw = self.extractor.execute(image, mask, label=label)
        except _ENGINE_ERRORS:
            # The text of the engine may quote voxel values; the code says enough.
            return None
        values = {key: _real(value) for key, value in raw.items()}
        found = {p: {n: values[n] for n in part_features(p) if n in values} for p in part_names(self.profile)}
        if (min(s.stop - s.start for s in box) == 1 or self.extractor.thinnest == 1) and SHAPE in found:
            found[SHAPE] = {}
        return found

    def _part(self, box: tuple[slice, ...]) -> tuple[sitk.Image, sitk.Image]:
        """Image and mask, cropped where no voxel further away can matter: own grid, no filter."""
        if self.profile.resample_mm is not None or self.profile.filtered:
            return self.image, self.mask
        margin = np.array([self.profile.pad_voxels] * 3)
        return _crop(self.image, box, margin), _crop(self.mask, box, margin)


class _Extractor(RadiomicsFeatureExtractor):
    """pyradiomics with image and mask prepared beforehand, and a look at the resampled region."""

    box: tuple[slice, ...] = ()
    thinnest = 0

    def loadImage(  # noqa: N802  (overrides the engine's method)
        self, image: sitk.Image, mask: sitk.Image, general_info: object = None, **settings: Any
    ) -> tuple[sitk.Image, sitk.Image]:
        """Resample as the engine does; type, labels and normalisation of the inputs are settled already."""
        del general_info
        if settings["resampledPixelSpacing"] is not None:
            image, mask = _resample(image, mask, self.box, settings)
        inside = np.argwhere(sitk.GetArrayViewFromImage(mask) == settings["label"])
        self.thinnest = int((inside.max(axis=0) - inside.min(axis=0)).min()) + 1 if len(inside) else 0
        return image, mask


def _resample(
    image: sitk.Image, mask: sitk.Image, box: tuple[slice, ...], settings: Mapping[str, Any]
) -> tuple[sitk.Image, sitk.Image]:
    """Resample the surroundings of a lesion to the very values that the whole image would give.

    A crop on all sides moves the origin of the index space, which changes interpolated values by rounding noise of
    about 1e-13. The engine truncates integer images after interpolation, so the noise is without effect unless a value
    comes to lie on an integer (grid points on sample points, constant regions); that is checked. In that case, and for
    images in floating point, only the far ends are cropped, which keeps the origin.
    """
    spacing, grid = np.array(image.GetSpacing()), np.array(settings["resampledPixelSpacing"])
    # an axis that the lesion spans with one voxel keeps its spacing, hence at least 1
    margin = np.ceil(settings["padDistance"] * np.maximum(grid / spacing, 1)).astype(int) + _CROP_MARGIN
    near = _crop(image, box, margin)
    if near.GetPixelID() in _INTEGER_TYPES:
        exact, found = imageoperations.resampleImage(sitk.Cast(near, sitk.sitkFloat64), mask, **settings)
        values = sitk.GetArrayViewFromImage(exact)
        if np.abs(values - np.rint(values)).min() > _NOISE:
            return sitk.Clamp(exact, near.GetPixelID()), found  # truncates, within the range of the type
    far = tuple(slice(0, s.stop) for s in box)
    return imageoperations.resampleImage(_crop(image, far, margin), mask, **settings)


def _extractor(profile: Profile) -> _Extractor:
    """An extractor with the settings of a profile, past the engine's own parser (deprecated import machinery)."""
    extractor = _Extractor(**engine_settings(profile))
    extractor.disableAllImageTypes()
    for name, own in engine_image_types(profile).items():
        extractor.enableImageTypeByName(name, customArgs=own)
    extractor.disableAllFeatures()
    for name in profile.feature_classes:
        extractor.enableFeatureClassByName(name)
    return extractor


def _crop(image: sitk.Image, box: tuple[slice, ...], margin: np.ndarray) -> sitk.Image:
    """Region of an image around a box (array order), at most to its border; voxels keep their places in mm."""
    size = np.array(image.GetSize())
    low = np.maximum(np.array([s.start for s in reversed(box)]) - margin, 0)
    high = np.minimum(np.array([s.stop for s in reversed(box)]) + margin, size)
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _real(value: Any) -> float:
    """A feature as a real number.

    GLCM MCC is the root of an eigenvalue of a matrix that is not symmetric, so the engine may return it as a complex
    number whose imaginary part is rounding; one that is more than that has no meaning and becomes NaN, which is
    flagged.
    """
    number = complex(value)
    return number.real if abs(number.imag) <= _ROUNDING * max(1.0, abs(number.real)) else float("nan")


@contextmanager
def _quiet_engine() -> Iterator[None]:
    """One thread (sums do not depend on the machine), no log lines, no numerical warnings from inside the engine."""
    logger = logging.getLogger("radiomics")
    level, threads = logger.level, sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    logger.setLevel(logging.CRITICAL + 1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with warnings.catch_warnings():
            # 0/0 in a feature becomes a NaN, which is flagged.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"radiomics(\.|$)")
            yield
    finally:
        logger.setLevel(level)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
