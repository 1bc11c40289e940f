"""Inputs that a reader of the documentation has, made from simulated patients."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig

_REPOSITORY = Path(__file__).parents[2]


def five_patients(folder: Path) -> None:
    """Scans of five resectable patients with lesion masks, as ``registry/scans/A1_ct.nii.gz`` and so on."""
    made = folder / ".made"
    config = SimulationConfig(patients=5, seed=11, unresectable_fraction=0, mr_fraction=0, texture_effect=0)
    simulate_cohort(config, made)
    scans = folder / "registry" / "scans"
    scans.mkdir(parents=True)
    for number in range(1, 6):
        source = made / "images" / f"SIM-{number:04d}"
        shutil.copy(source / "preoperative_portal_venous.nii.gz", scans / f"A{number}_ct.nii.gz")
        shutil.copy(source / "preoperative_portal_venous_lesions.nii.gz", scans / f"A{number}_lesions.nii.gz")
    shutil.rmtree(made)


def two_mri_patients(folder: Path) -> None:
    """A cohort of two patients with a portal-venous CT and a hepatobiliary MR each, as ``mri/``."""
    simulate_cohort(SimulationConfig(patients=2, seed=3, unresectable_fraction=0, mr_fraction=1), folder / "mri")


def source_tree(folder: Path) -> None:
    """A source tree to change, as the folder of the page itself."""
    for name in ("radiomics_crlm", "data_schemas", "configs", "experiments"):
        shutil.copytree(_REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def feature_table(folder: Path) -> None:
    """Two invented features of the patients of ``my_cohort/``, as another program may have made them."""
    rows = []
    for number, row in enumerate(_clinical(folder)):
        made = (f"{number * 37 % 101 / 101:.6f}", f"{number * 53 % 89 / 89:.6f}")
        rows.append([row["patient_id"], "preoperative", "CT", "portal_venous", *made])
    header = ["patient_id", "timepoint", "modality", "sequence", "largest__deep_0", "largest__deep_1"]
    _write(folder / "my_cohort" / "deep.csv", [header, *rows])


def centres(folder: Path) -> None:
    """The patients of ``my_cohort/`` in three centres, as ``centres/``."""
    rows = [{**row, "centre": "ABC"[number % 3]} for number, row in enumerate(_clinical(folder))]
    _write(folder / "centres" / "clinical.csv", [list(rows[0]), *(list(row.values()) for row in rows)])


def pacs_export(folder: Path) -> None:
    """Two patients as DICOM, with a SEG each, as ``pacs/``; the folder of the second holds two series."""
    import numpy as np
    from dicom_examples import Series, image_slices, save_all, save_one, segmentation

    noise = np.random.default_rng(5)
    for patient in ("P1", "P2"):
        array = noise.normal(100, 12, size=(12, 40, 48)).round().astype(np.int16)
        lesion, liver = np.zeros(array.shape, dtype=bool), np.zeros(array.shape, dtype=bool)
        lesion[4:8, 12:26, 14:30], liver[2:10, 6:34, 6:42] = True, True
        array[lesion] -= 40
        series = Series(patient=patient, number=3, spacing=(0.8, 0.8, 3.0))
        slices = image_slices(array, series)
        save_all(folder / "pacs" / patient / "CT", slices)
        seg = segmentation(slices, {"Metastasis 1": lesion, "Liver": liver})
        save_one(folder / "pacs" / patient / "SEG" / "seg.dcm", seg)
    other = Series(patient="P2", number=2, description="arterial", spacing=(0.8, 0.8, 3.0))
    save_all(folder / "pacs" / "P2" / "CT", image_slices(array, other), prefix="a")


def _clinical(folder: Path) -> list[dict[str, str]]:
    with (folder / "my_cohort" / "clinical.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


PREPARE: Mapping[str, Callable[[Path], None]] = {
    "five_patients": five_patients,
    "two_mri_patients": two_mri_patients,
    "source_tree": source_tree,
    "feature_table": feature_table,
    "centres": centres,
    "pacs_export": pacs_export,
}
