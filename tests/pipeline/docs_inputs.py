"""Inputs that a reader of the documentation has, made from simulated patients."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
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
    """A table of two invented features of the patients of ``cohort/``, as another tool may have made it."""
    with (folder / "cohort" / "clinical.csv").open(encoding="utf-8", newline="") as stream:
        keys = [row["patient_id"] for row in csv.DictReader(stream)]
    with (folder / "cohort" / "features_patient.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["patient_id", "timepoint", "modality", "sequence", "largest__deep_0", "largest__deep_1"])
        for number, key in enumerate(keys):
            made = (number * 37 % 101 / 101, number * 53 % 89 / 89)
            writer.writerow([key, "preoperative", "CT", "portal_venous", *made])


PREPARE: Mapping[str, Callable[[Path], None]] = {
    "five_patients": five_patients,
    "two_mri_patients": two_mri_patients,
    "source_tree": source_tree,
    "feature_table": feature_table,
}
