"""A volume in patient space, and whether two volumes lie on the same grid.

Coordinates are LPS (x to the patient's left, y to posterior, z to the head) in mm, as in DICOM and ITK. Arrays are
indexed ``[z, y, x]``; ``spacing``, ``origin`` and ``direction`` are in ITK order ``(x, y, z)``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk

from radiomics_crlm.errors import CaseError, InputError

# Headers written by different tools differ in the last digits of single precision (below 1e-4 voxel on a 512-voxel
# axis); a real misregistration starts near a tenth of a voxel. One hundredth separates the two.
SAME_GRID_TOLERANCE_VOXELS = 0.01
HU_OF_AIR = -1024
# ITK's own limit for direction cosines.
_ORTHONORMAL_TOLERANCE = 1e-4


@dataclass(frozen=True)
class SeriesSource:
    """Which DICOM series a volume is, for comparisons in memory: none of it is ever written or shown.

    ``day`` is the proleptic ordinal of the acquisition date; only differences between the scans of a patient leave
    the program. ``contrast_delay_s`` is the time from the start of the injection to the acquisition.
    """

    patient: str
    study: str
    series: str
    frame_of_reference: str
    day: int | None = None
    contrast_delay_s: float | None = None


@dataclass(frozen=True)
class Volume:
    """One scalar image on a regular grid.

    Parameters
    ----------
    array
        Voxels, shape ``(z, y, x)``.
    spacing
        Distance between voxel centres in mm, ``(x, y, z)``.
    origin
        Centre of voxel ``[0, 0, 0]`` in mm, LPS.
    direction
        Nine numbers, row-major; column ``k`` is the unit vector of index axis ``k`` in order ``(x, y, z)``.
    flags
        What was repaired or set while reading, e.g. ``hu_padding_clipped``.
    source
        The DICOM series that the volume was read from, if any; left out of comparisons and of ``repr``.

    Raises
    ------
    InputError
        If the array is not three-dimensional, a spacing is not positive or the direction is not orthonormal.
    """

    array: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    flags: tuple[str, ...] = ()
    source: SeriesSource | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.size == 0:
            raise InputError("a volume needs three axes and at least one voxel", got=f"{self.array.ndim} axes")
        numbers = np.array([*self.spacing, *self.origin, *self.direction], dtype=float)
        if len(numbers) != 15 or not np.isfinite(numbers).all() or min(self.spacing) <= 0:
            raise InputError("spacing, origin and direction must be 3, 3 and 9 finite numbers with positive spacing")
        matrix = np.array(self.direction, dtype=float).reshape(3, 3)
        deviation = np.abs(matrix.T @ matrix - np.eye(3)).max()
        if deviation > _ORTHONORMAL_TOLERANCE:
            raise InputError(
                "the direction cosines of a volume must be orthonormal",
                expected=f"axes of length 1 at right angles, within {_ORTHONORMAL_TOLERANCE:g}",
                got=f"a deviation of {deviation:.2g}",
            )

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def index_to_mm(self) -> np.ndarray:
        """Matrix ``(3, 3)`` that turns an index step ``(x, y, z)`` into a step in mm, LPS."""
        return np.array(self.direction, dtype=float).reshape(3, 3) * np.array(self.spacing, dtype=float)


def to_itk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image (booleans become 8-bit)."""
    array = volume.array.astype(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    return image


def from_itk(image: sitk.Image) -> Volume:
    """A SimpleITK image as a volume."""
    return Volume(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def same_grid_offset(image: Volume, mask: Volume) -> tuple[float, float]:
    """Largest displacement of a corner of the grid, in mm and in voxels of ``image`` (largest index component).

    Examples
    --------
    >>> a = Volume(np.zeros((2, 2, 2)), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    >>> same_grid_offset(a, replace(a, origin=(0.0, 0.0, 2.5)))
    (2.5, 0.5)
    """
    ends = [(-0.5, n - 0.5) for n in reversed(image.array.shape)]
    corners = np.array(list(itertools.product(*ends))).T
    shift = (mask.index_to_mm - image.index_to_mm) @ corners
    shift += (np.array(mask.origin) - np.array(image.origin))[:, None]
    voxels = np.linalg.solve(image.index_to_mm, shift)
    return float(np.linalg.norm(shift, axis=0).max()), float(np.abs(voxels).max())


def check_same_geometry(image: Volume, mask: Volume, *, case: str) -> tuple[Volume, tuple[str, ...]]:
    """Make sure that a mask lies on the grid of its image.

    A mask whose corners all lie within ``SAME_GRID_TOLERANCE_VOXELS`` (0.01 voxel) of the image's takes over the
    image's header. Anything larger is refused rather than resampled: whether a mask is shifted or was drawn on another
    image cannot be told from here.

    Returns
    -------
    mask, flags
        The mask with the image's header; ``("mask_header_repaired",)`` if that changed a number, else ``()``.

    Raises
    ------
    CaseError
        ``geometry_mismatch``, with the difference in size, or the offset in mm and voxels and the parts that differ.
    """
    if image.array.shape != mask.array.shape:
        sizes = [" x ".join(map(str, reversed(v.array.shape))) for v in (image, mask)]
        raise CaseError(
            "geometry_mismatch",
            "image and mask differ in size",
            where=case,
            expected=f"{sizes[0]} voxels (x, y, z) as in the image",
            got=f"{sizes[1]} in the mask",
            remedy="export the mask on the grid of this image",
        )
    if (image.spacing, image.origin, image.direction) == (mask.spacing, mask.origin, mask.direction):
        return mask, ()
    offset_mm, offset_voxels = same_grid_offset(image, mask)
    if offset_voxels > SAME_GRID_TOLERANCE_VOXELS:
        raise CaseError(
            "geometry_mismatch",
            "image and mask lie on different grids",
            where=case,
            expected=f"corners within {SAME_GRID_TOLERANCE_VOXELS} voxel",
            got=f"{offset_mm:.3f} mm = {offset_voxels:.3f} voxel; differing: {_differences(image, mask)}",
            remedy="export the mask on the grid of this image",
        )
    repaired = replace(mask, spacing=image.spacing, origin=image.origin, direction=image.direction)
    return repaired, ("mask_header_repaired",)


def _differences(image: Volume, mask: Volume) -> str:
    """The parts of the header that differ, with the largest difference of each."""
    parts = []
    for name, unit in (("spacing", " mm"), ("origin", " mm"), ("direction", "")):
        gap = np.abs(np.array(getattr(image, name)) - np.array(getattr(mask, name))).max()
        if gap > 0:
            parts.append(f"{name} by {gap:.4g}{unit}")
    return ", ".join(parts)


def clip_hu_padding(volume: Volume) -> Volume:
    """Set CT values below -1024 HU to -1024 and say so in the flag ``hu_padding_clipped``.

    Nothing in a patient is below air (-1024 HU by the definition of the 12-bit scale); smaller values are padding
    outside the field of view (-2000, -3024), whose size is a matter of the scanner and which interpolation and filters
    would spread into the voxels near the border. The voxels stay: cropping would change the grid that masks refer to.

    Examples
    --------
    >>> v = Volume(np.array([[[-2000, 40]]]), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    >>> clip_hu_padding(v).array.tolist(), clip_hu_padding(v).flags
    ([[[-1024, 40]]], ('hu_padding_clipped',))
    """
    if volume.array.min() >= HU_OF_AIR:
        return volume
    return replace(volume, array=np.maximum(volume.array, HU_OF_AIR), flags=(*volume.flags, "hu_padding_clipped"))
