"""Make MR intensities comparable: N4 bias field correction, and the scale of a reference tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume, to_itk
from radiomics_crlm.imaging.regions import peeled

REFERENCE_TISSUES = ("liver", "spleen", "muscle")
# Median of the reference tissue after normalisation.
REFERENCE_LEVEL = 100.0
MIN_REFERENCE_VOXELS = 100
_MIN_PART = 8  # voxels a side that N4 needs after shrinking


def correct_bias(image: Volume, *, shrink: int = 4, iterations: Sequence[int] = (50, 50, 50)) -> Volume:
    """N4 bias field correction (doi:10.1109/TMI.2010.2046908) inside the patient.

    The field is estimated on every ``shrink``-th voxel of the part brighter than Otsu's threshold, and applied to the
    whole image. One thread: the result is always the same. The mean of the image inside that part is kept, because the
    field is known up to a factor only.

    Parameters
    ----------
    image
        MR intensities, not negative.
    shrink
        Voxels per estimation voxel along each axis (less along short axes).
    iterations
        Most iterations at each resolution; the number of resolutions bounds how finely the field may vary.

    Returns
    -------
    Volume
        32-bit floats on the same grid, flag ``bias_corrected``.
    """
    plain = sitk.Cast(to_itk(image), sitk.sitkFloat32)
    mask = sitk.OtsuThreshold(plain, 0, 1, 128)
    factors = [max(1, min(shrink, n // _MIN_PART)) for n in plain.GetSize()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.Execute(sitk.Shrink(plain, factors), sitk.Shrink(mask, factors))
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(plain)).astype(np.float64)
    values = image.array.astype(np.float64)
    inside = sitk.GetArrayFromImage(mask) > 0
    corrected = values * np.exp(-field)
    mean = corrected[inside].mean()
    if mean > 0:
        corrected *= values[inside].mean() / mean
    return replace(image, array=corrected.astype(np.float32), flags=(*image.flags, "bias_corrected"))


def scale_to_tissue(
    image: Volume, tissue: str, anatomy: Mapping[str, np.ndarray], *, tumour: np.ndarray | None = None, case: str
) -> Volume:
    """Divide by the median of a reference tissue, times 100.

    Parameters
    ----------
    tissue
        One of ``REFERENCE_TISSUES``; its mask is taken one voxel away from its in-plane border, without vessels and
        ``tumour``.
    anatomy
        Boolean arrays ``(z, y, x)`` by role.
    case
        Key of the scan for messages.

    Returns
    -------
    Volume
        32-bit floats on the same grid, flag ``scaled_to:TISSUE``.

    Raises
    ------
    CaseError
        ``no_reference_tissue`` if the mask is absent or holds fewer than 100 voxels; ``dark_reference_tissue`` if the
        median is not positive.
    """
    region = anatomy.get(tissue)
    if region is not None:
        for other in (tumour, anatomy.get("hepatic_veins"), anatomy.get("portal_vein")):
            if other is not None:
                region = region & ~other
        region = peeled(region)
    count = 0 if region is None else int(region.sum())
    if region is None or count < MIN_REFERENCE_VOXELS:
        raise CaseError(
            "no_reference_tissue",
            f"the profile scales to the {tissue}, which the masks of the scan do not show",
            where=case,
            expected=f"a mask with the role {tissue} of at least {MIN_REFERENCE_VOXELS} voxels",
            got=f"{count} voxels",
        )
    level = float(np.median(image.array[region]))
    if level <= 0:
        raise CaseError("dark_reference_tissue", f"the median of the {tissue} is not positive", where=case)
    scaled = (image.array.astype(np.float64) * (REFERENCE_LEVEL / level)).astype(np.float32)
    return replace(image, array=scaled, flags=(*image.flags, f"scaled_to:{tissue}"))
