"""Inputs that a reader of the documentation has, made from simulated patients."""

from __future__ import annotations

import csv
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig

_REPOSITORY = Path(__file__).parents[2]
# What a clean clone has not.
_NOT_CLONED = shutil.ignore_patterns(".?*", "out", "__pycache__", "*.egg-info", "site", "mlflow.db", "mlruns")


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


def checkout(folder: Path) -> None:
    """A clone whose environment is installed already, as the folder of the page itself."""
    shutil.copytree(_REPOSITORY, folder, ignore=_NOT_CLONED, dirs_exist_ok=True)
    environment(folder)


def repository(folder: Path) -> None:
    """A repository that can be cloned, as ``REPOSITORY``."""
    here = folder / "REPOSITORY"
    shutil.copytree(_REPOSITORY, here, ignore=_NOT_CLONED)
    shutil.copy(_REPOSITORY / ".gitignore", here)
    who = ["-c", "user.name=A Reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "All"]):
        subprocess.run(["git", *arguments], cwd=here, check=True)


def pipeline(folder: Path) -> None:
    """A clone with the settings of DVC, as the folder of the page itself; the environment is on the path."""
    shutil.copytree(_REPOSITORY, folder, ignore=_NOT_CLONED, dirs_exist_ok=True)
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(_REPOSITORY / name, folder)
    shutil.copytree(
        _REPOSITORY / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    who = {"user.name": "A Reader", "user.email": "reader@example.org", "commit.gpgsign": "false"}
    for arguments in (
        ["init", "--quiet"],
        *(["config", key, value] for key, value in who.items()),
        ["add", "--all"],
        ["commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def environment(folder: Path) -> None:
    """The environment that ``make`` would build from the lock: the one of this very test, without asking a network."""
    (folder / ".venv").mkdir()
    for name in ("bin", "lib", "lib64", "include"):
        if (Path(sys.prefix) / name).exists():
            (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    if (Path(sys.prefix) / "pyvenv.cfg").is_file():
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder / ".venv")
    (folder / ".venv" / "ready").touch()


def readme_inputs(folder: Path) -> None:
    """What stands in capital letters in README: ``DATA``, ``SERIES_FOLDER``, ``LESIONS.nii.gz``, ``COHORT``."""
    import numpy as np
    import SimpleITK as sitk
    from dicom_examples import Series, image_slices, save_all

    _tcia_table(folder / "DATA")
    series = Series(patient="P1", number=3, spacing=(0.8, 0.8, 3.0))
    grey = np.random.default_rng(7).normal(100, 12, size=(12, 40, 48)).round().astype(np.int16)
    save_all(folder / "SERIES_FOLDER", image_slices(grey, series))
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "SERIES_FOLDER"))
    outline = np.zeros(grey.shape, dtype=np.uint8)
    outline[4:8, 12:26, 14:30] = 1
    mask = sitk.GetImageFromArray(outline)
    mask.CopyInformation(sitk.ReadImage(names))
    sitk.WriteImage(mask, str(folder / "LESIONS.nii.gz"))
    simulate_cohort(SimulationConfig(patients=4, seed=5, unresectable_fraction=0, mr_fraction=0), folder / "COHORT")


def tcia_download(folder: Path) -> None:
    """Three made-up patients as ``crlm fetch`` leaves the public collection, as ``data/``."""
    from test_ingest import download

    for number, patient in enumerate(("CRLM-CT-1001", "CRLM-CT-1002", "CRLM-CT-1003")):
        download(folder / "data", patient, tumours=number + 1)


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


def _tcia_table(folder: Path) -> None:
    """An invented table with the headers of the public cohort, and its experiment with a design of a minute."""
    draw = random.Random(3)  # noqa: S311  (no secret)
    rows: list[list[str]] = []
    for number in range(90):
        score, months, event = draw.randint(0, 5), round(draw.uniform(1, 90), 1), draw.random() < 0.6
        values = {
            "Patient-ID": f"CRLM-CT-{1001 + number}", "age": draw.randint(35, 85), "sex": draw.randint(1, 2),
            "node_positive_primary": draw.randint(0, 1), "multiple_metastases": draw.randint(0, 1),
            "clinrisk_score": score, "clinrisk_stratified": int(score > 2),
            "carcinoembryonic_antigen": round(draw.uniform(1, 60), 1), "max_tumor_size": round(draw.uniform(1, 8), 1),
            "bilobar_disease": draw.randint(0, 1), "overall_survival_months": round(months + 9, 1),
            "vital_status": int(event and draw.random() < 0.5), "progression_or_recurrence": int(event),
            "months_to_DFS_progression": months, "vital_status_DFS": int(event),
        }  # fmt: skip
        rows = rows or [_tcia_header()]
        rows.append([str(values.get(name, "-999")) for name in rows[0]])
    folder.mkdir()
    _write(folder / "clinical.csv", rows)
    shipped = folder.parent / "experiments" / "tcia_crlm_clinical.yaml"
    text = re.sub(r"^design: .*", "design: {outer_folds: 3, repeats: 1, inner_folds: 3, seed: 1, refits: 0}",
                  shipped.read_text(encoding="utf-8"), flags=re.MULTILINE)  # fmt: skip
    text = re.sub(r"^learners: .*", "learners: [ridge]", text, flags=re.MULTILINE)
    shipped.write_text(re.sub(r"^answer: \{", "answer: {permutations: 0, ", text, flags=re.MULTILINE), encoding="utf-8")


def _tcia_header() -> list[str]:
    from radiomics_crlm.config import read_yaml
    from radiomics_crlm.resources import resource

    layout = read_yaml(resource("configs/layouts/tcia_crlm.yaml"))
    return [*layout["columns"], *layout["drop"]]


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
    "checkout": checkout,
    "repository": repository,
    "pipeline": pipeline,
    "environment": environment,
    "readme_inputs": readme_inputs,
    "tcia_download": tcia_download,
    "feature_table": feature_table,
    "centres": centres,
    "pacs_export": pacs_export,
}
