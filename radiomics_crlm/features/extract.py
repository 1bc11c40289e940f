"""Radiomic features of the lesions, the liver and its remnant in one scan.

Values equal those of a plain ``RadiomicsFeatureExtractor.execute`` on the same image and mask: texture and first-order
features bit for bit, mesh and diameters of the shape to 1e-12. What makes it faster: image and mask are validated and
prepared once for all regions; only the surroundings of a region are resampled and filtered; levels and matrices are
made once per image for all feature classes; and the loops that matter are compiled.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import SimpleITK as sitk
from radiomics import imageoperations
from scipy import ndimage
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.features.filters import check_available, filtered_images
from radiomics_crlm.features.formulas import ImageFeatures, c_extensions, shape_features
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
from radiomics_crlm.features.resampling import Box, LabelPart, Need, OnGrid, needed_bytes, region_on_grid
from radiomics_crlm.imaging.geometry import Volume, check_same_geometry, from_itk, to_itk
from radiomics_crlm.imaging.normalise import correct_bias, scale_to_tissue
from radiomics_crlm.imaging.regions import as_label_mask, bounding_box, label_boxes

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

ORGANS = ("liver", "remnant", "ring")
Parts = dict[str, dict[str, float]]


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
        ``no_values``, ``too_large_for_memory``), and all features null, where a lesion cannot be measured. Flags,
        separated by ``;``: ``touches_border`` (the lesion reaches the border of the image and may go on beyond it),
        ``several_parts`` (more than one 26-connected component), ``shape_3d_undefined`` (one voxel thick before or
        after resampling, so that the 3-D shape features are null), ``nan:NAME`` and ``missing:IMAGE`` (the engine gave
        no finite value), ``flat`` (one grey level) and ``few_levels:IMAGE`` (not flat, but a single grey level after
        binning): texture features are the engine's conventional constants there.

    Raises
    ------
    CaseError
        If image and mask do not fit, the mask is empty or not integer, or the reference tissue is not there
        (``no_reference_tissue``, ``dark_reference_tissue``).
    ConfigError
        If the profile has an image type whose package is not installed.
    """
    scan = PreparedScan(image, lesion_mask, profile, case=case, anatomy=anatomy)
    return assemble([scan.features(region) for region in scan.regions if region.role == "lesion"], profile)


class PreparedScan:
    """A scan made ready once for all its regions.

    Parameters
    ----------
    image, lesion_mask, profile, case, anatomy
        As for `extract_scan`; ``anatomy`` also holds the organs that ``profile.regions`` asks for. The liver is the
        union of its labels and the lesions, since masks may leave lesions out; remnant and ring are without tumour.
    max_bytes
        Regions that need more memory than this beyond the prepared scan, by an upper estimate, fail with
        ``too_large_for_memory``; none: no bound.

    Raises
    ------
    CaseError
        As `extract_scan`.
    ConfigError
        If the profile has an image type whose package is not installed.
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
        check_available(engine_image_types(profile))
        lesion_mask, _ = check_same_geometry(image, as_label_mask(lesion_mask, case=case), case=case)
        self.profile, self.max_bytes = profile, max_bytes
        self._labels = _label_parts(lesion_mask.array, anatomy or {}, profile)
        self._boxes = _boxes(self._labels)
        self._image = _prepared(image, lesion_mask.array, profile, anatomy or {}, case)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Lesions by label, then the organs that the profile asks for and that exist."""
        return tuple(self._boxes)

    def features(self, region: Region, known: Mapping[str, Mapping[str, float]] | None = None) -> RegionFeatures:
        """Features of one region.

        Parameters
        ----------
        known
            Parts that were computed before with the same hash (`part_hashes`) for the same pixels and region; they are
            not computed again.
        """
        labels, box, label = self._labels[region.role], self._boxes[region], max(region.label, 1)
        inside = labels.inside(label, box)
        reason = _unfit(inside, self.profile)
        if reason:
            return RegionFeatures(region, "failed", reason)
        about = _about(inside, box, self._image.array.shape)
        if self.max_bytes is not None and needed_bytes(self._image, box, self.profile) > self.max_bytes:
            return RegionFeatures(region, "failed", "too_large_for_memory", ";".join(about))
        parts: Parts = {name: dict(values) for name, values in (known or {}).items()}
        wanted = [name for name in part_names(self.profile) if name not in parts]
        if wanted:
            try:
                with _quiet_engine():
                    on_grid = region_on_grid(self._image, labels, label, box, self.profile, _need(wanted, self.profile))
                    parts |= _computed(on_grid, self.profile, wanted, min(inside.shape) == 1)
            except _Refused:
                return RegionFeatures(region, "failed", "engine_refused", ";".join(about))
            except MemoryError:
                return RegionFeatures(region, "failed", "too_large_for_memory", ";".join(about))
        return concluded(region, parts, self.profile, about)


def _label_parts(lesions: np.ndarray, anatomy: Mapping[str, np.ndarray], profile: Profile) -> dict[str, LabelPart]:
    """Lesions, and the organs that a profile asks for and that exist, each cropped to its box: scans are large."""
    around = _extent(lesions)
    part = np.ascontiguousarray(lesions[around])
    found = {"lesion": _label_part(part.astype(np.min_scalar_type(part.max())), around)}
    for role in (r for r in ORGANS if r in profile.regions and r in anatomy and anatomy[r].any()):
        box = _extent(anatomy[role])
        if role == "liver":
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, around, strict=True))
        organ, tumour = anatomy[role][box].astype(np.uint8), lesions[box] > 0
        organ[tumour] = role == "liver"
        if organ.any():
            found[role] = _label_part(organ, box)
    return found


def _label_part(array: np.ndarray, box: Box) -> LabelPart:
    """Labels of a box."""
    z, y, x = (s.start for s in box)
    return LabelPart(array, (z, y, x))


def _boxes(labels: Mapping[str, LabelPart]) -> dict[Region, Box]:
    """Regions and their boxes in the image, lesions first."""
    found: dict[Region, Box] = {}
    for role, part in labels.items():
        for n, box in label_boxes(part.array).items():
            where = tuple(slice(s.start + a, s.stop + a) for s, a in zip(box, part.start, strict=True))
            found[Region(role, n if role == "lesion" else 0)] = where
    return found


def _prepared(
    image: Volume, lesions: np.ndarray, profile: Profile, anatomy: Mapping[str, np.ndarray], case: str
) -> Volume:
    """The image with the intensities that a profile asks for; unchanged for most."""
    if profile.bias_correction is not None:
        wanted = profile.bias_correction
        image = correct_bias(image, shrink=wanted.shrink, iterations=wanted.iterations)
    if profile.reference_tissue is not None:
        image = scale_to_tissue(image, profile.reference_tissue, anatomy, tumour=lesions > 0, case=case)
    if profile.normalize is not None:  # over the whole image, hence before any crop
        with _quiet_engine():
            array = from_itk(imageoperations.normalizeImage(to_itk(image), **engine_settings(profile))).array
        image = replace(image, array=array)
    return image


def _unfit(inside: np.ndarray, profile: Profile) -> str:
    """Why a region cannot be measured at all, or nothing."""
    count = int(np.count_nonzero(inside))
    if count == 1:
        return "one_voxel"
    if count < profile.min_voxels:
        return "too_few_voxels"
    return "too_thin" if sum(n > 1 for n in inside.shape) < 2 else ""


def _about(inside: np.ndarray, box: Box, shape: tuple[int, ...]) -> list[str]:
    """Flags of the region on the grid of the image: ``touches_border``, ``several_parts`` (26-connected)."""
    border = any(s.start == 0 or s.stop == n for s, n in zip(box, shape, strict=True))
    several = int(ndimage.label(inside, structure=np.ones((3, 3, 3)))[1]) > 1
    return ["touches_border"] * border + ["several_parts"] * several


class _Refused(Exception):  # noqa: N818  (an outcome, not an error)
    """A region that the engine would not measure."""


def _need(wanted: list[str], profile: Profile) -> Need:
    """Grey levels that parts use."""
    images = {name.rsplit("_", 1)[0] for name in wanted if name != SHAPE}
    if images - {"original"}:
        return "surroundings"
    resegmented = profile.resegment_range is not None or profile.resegment_sigma is not None
    return "region" if images or resegmented else "mask"


def _computed(on_grid: OnGrid, profile: Profile, wanted: list[str], thin: bool) -> Parts:
    """Parts of a region on its grid; one without features where the engine gives none."""
    whole = _box_of(on_grid.inside)
    texture = _resegmented(on_grid, profile)
    box = _box_of(texture)
    found: Parts = {}
    if SHAPE in wanted:
        # The engine measures the shape of the whole region, but in the box of what re-segmentation left.
        inside = on_grid.inside[whole if profile.grid == "ibsi" else box]
        flat = thin or min(s.stop - s.start for s in whole) == 1
        found[SHAPE] = {} if flat else _named(SHAPE, shape_features(inside, on_grid.image.spacing))
    images = list(dict.fromkeys(name.rsplit("_", 1)[0] for name in wanted if name != SHAPE))
    found |= {name: {} for name in wanted if name != SHAPE}
    features = ImageFeatures(profile, float(np.multiply.reduce(on_grid.image.spacing)))
    for name, values in _images(on_grid, texture, profile, images, box):
        kinds = [kind for kind in profile.feature_classes if f"{name}_{kind}" in found]
        try:
            made = features.of(values, texture[box], kinds)
        except CrlmError:  # no bins: the image stays without features, which is flagged
            continue
        found |= {f"{name}_{kind}": _named(f"{name}_{kind}", made[kind]) for kind in kinds}
    return found


def _images(
    on_grid: OnGrid, inside: np.ndarray, profile: Profile, wanted: list[str], box: Box
) -> Iterator[tuple[str, np.ndarray]]:
    """Images of a profile, cropped to the box."""
    if not set(wanted) - {"original"}:
        yield from ((name, on_grid.image.array[box]) for name in wanted)
        return
    settings = {**engine_settings(profile), "label": 1}
    mask = to_itk(replace(on_grid.image, array=inside))
    image = to_itk(on_grid.image)
    z, y, x = box
    yield from filtered_images(image, mask, engine_image_types(profile), settings, wanted=wanted, box=(z, y, x))


def _named(part: str, values: Mapping[str, float]) -> dict[str, float]:
    """Features of a part under their full names."""
    prefix = "original_shape" if part == SHAPE else part
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _resegmented(on_grid: OnGrid, profile: Profile) -> np.ndarray:
    """The region without the voxels that re-segmentation drops."""
    inside = on_grid.inside
    if profile.resegment_range is None and profile.resegment_sigma is None:
        return inside
    values = on_grid.image.array[inside]
    low, high = profile.resegment_range or (0.0, 0.0)
    if profile.resegment_sigma is not None:
        mean, deviation = np.mean(values), np.std(values)
        low, high = mean - deviation * profile.resegment_sigma, mean + deviation * profile.resegment_sigma
    kept = np.zeros_like(inside)
    kept[inside] = (values >= low) & (values <= high)
    return kept


def _box_of(inside: np.ndarray) -> Box:
    """Box of a region, which must be what the engine measures: more than one voxel, in two dimensions at least."""
    box = _extent(inside)
    if sum(s.stop - s.start > 1 for s in box) < 2:
        raise _Refused
    return box


def _extent(array: np.ndarray) -> Box:
    """Box of the values that are not zero; empty if all are."""
    return bounding_box(array) or (slice(0, 0),) * 3


@contextmanager
def _quiet_engine() -> Iterator[None]:
    """One thread (sums do not depend on the machine, small matrices are faster) and no log lines from the engine."""
    logger = logging.getLogger("radiomics")
    level, threads = logger.level, sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    logger.setLevel(logging.CRITICAL + 1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        with _linear_algebra().limit(limits=1):
            yield
    finally:
        logger.setLevel(level)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


@functools.cache
def _linear_algebra() -> ThreadpoolController:
    """The thread pools of numpy's libraries; finding them takes longer than most regions."""
    return ThreadpoolController()
