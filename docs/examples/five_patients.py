"""Five made-up patients as a registry may have them: a table, CT volumes and lesion masks (NIfTI), and a manifest.

    python five_patients.py [FOLDER]

The mask of P4 is spoilt in the commonest way: it was written without the geometry of its image.
With ``--mend`` only that mask is written again, as it should be.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

CLINICAL = """\
patient_id,age_years,sex,node_positive_primary,dfi_months,n_liver_mets,largest_met_mm,bilobar,cea_ng_ml,ras_status,braf_v600e
P1,63,male,true,6,1,24,false,14.2,wild_type,wild_type
P2,71,female,false,24,2,30,true,8.9,mutant,wild_type
P3,58,male,true,0,1,36,false,61,wild_type,wild_type
P4,66,female,true,11,1,28,false,5.2,mutant,wild_type
P5,49,male,,14,1,22,false,,,
"""
# Per patient: radii of each lesion in mm.
LESIONS = {"P1": (12,), "P2": (15, 9), "P3": (18,), "P4": (14,), "P5": (11,)}
SIZE, SPACING, ORIGIN = (40, 110, 110), (0.9, 0.9, 2.5), (-50.0, -180.0, 900.0)  # voxels z, y, x; mm x, y, z


def ball(centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """Voxels within a radius of a point, which is given as x, y, z from the first voxel."""
    z, y, x = np.ogrid[: SIZE[0], : SIZE[1], : SIZE[2]]
    squares = (x * SPACING[0] - centre_mm[0]) ** 2 + (y * SPACING[1] - centre_mm[1]) ** 2
    return squares + (z * SPACING[2] - centre_mm[2]) ** 2 <= radius_mm**2


def scan(number: int, radii: tuple[int, ...]) -> tuple[sitk.Image, sitk.Image]:
    """A liver in HU with darker lesions, and a mask in which each lesion has a number of its own."""
    noise = np.random.default_rng(number)
    grey = np.where(ball((50, 50, 50), 46), 110, -80) + noise.normal(0, 12, SIZE)
    labels = np.zeros(SIZE, dtype=np.uint8)
    for label, radius in enumerate(radii, start=1):
        inside = ball((25.0 * label + 6, 48, 50), radius)
        grey[inside] += noise.normal(-40, 6 + number, np.count_nonzero(inside))
        labels[inside] = label
    image = sitk.GetImageFromArray(grey.round().astype(np.int16))
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    return image, sitk.GetImageFromArray(labels)


def main(folder: Path, *, mend: bool) -> None:
    """Write the cohort folder, or only the mask that was wrong."""
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    manifest = ["patient_id,timepoint,modality,sequence,image,mask,mask_roles"]
    for number, (patient, radii) in enumerate(LESIONS.items(), start=1):
        image, mask = scan(number, radii)
        if patient != "P4" or mend:
            mask.CopyInformation(image)  # the same size, spacing, origin and direction
        if not mend:
            sitk.WriteImage(image, str(folder / "scans" / f"{patient}_ct.nii.gz"))
        if not mend or patient == "P4":
            sitk.WriteImage(mask, str(folder / "scans" / f"{patient}_lesions.nii.gz"))
        files = f"scans/{patient}_ct.nii.gz,scans/{patient}_lesions.nii.gz"
        manifest.append(f"{patient},preoperative,CT,portal_venous,{files},lesion=*")
    if not mend:
        (folder / "clinical.csv").write_text(CLINICAL, encoding="utf-8")
        (folder / "imaging.csv").write_text("\n".join(manifest) + "\n", encoding="utf-8")


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--mend"]
    main(Path(given[0] if given else "five"), mend="--mend" in sys.argv)
