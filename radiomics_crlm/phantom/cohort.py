"""Write a simulated cohort: images, masks, manifest, charts, and the truth beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from radiomics_crlm.imaging.volume import write_volume
from radiomics_crlm.parallel import run_all
from radiomics_crlm.phantom import outcomes
from radiomics_crlm.phantom.anatomy import ANATOMY_ROLES, Anatomy, anatomy_labels, as_volume, draw_anatomy
from radiomics_crlm.phantom.clinical_rows import Measured, clinical_row, measure
from radiomics_crlm.phantom.images import render_ct, render_mr
from radiomics_crlm.phantom.lesions import Shape, place_lesions, render_lesions, respond, sorted_by_volume
from radiomics_crlm.phantom.patients import Plan, draw_plan
from radiomics_crlm.phantom.settings import SimulationConfig, Stream, generator
from radiomics_crlm.provenance.files import write_json, write_text

LESION_ROLES = "lesion=*"
IMAGING_COLUMNS = ("patient_id", "timepoint", "modality", "sequence", "image", "mask", "mask_roles", "study_day")


@dataclass(frozen=True)
class SimulatedCohort:
    """Where a simulated cohort lies and how large it is."""

    folder: Path
    patients: int
    images: int


@dataclass(frozen=True)
class Scene:
    """Anatomy and lesions of a patient at one time point: masks ``(z, y, x)`` and the normalised lesion radius."""

    anatomy: Anatomy
    labels: np.ndarray
    radius: np.ndarray
    organs: np.ndarray


@dataclass(frozen=True)
class _Rows:
    clinical: dict[str, object]
    imaging: list[dict[str, object]]
    truth: dict[str, object]


def simulate_cohort(
    config: SimulationConfig, out: Path, *, on_progress: Callable[[int, int], None] | None = None, jobs: int = 1
) -> SimulatedCohort:
    """Write a cohort folder.

    It holds ``clinical.csv``, ``imaging.csv``, ``images/<patient_id>/<timepoint>_<sequence>.nii.gz`` with its two mask
    files (``_lesions``, ``_anatomy``), ``truth.json`` and ``truth_patients.csv``. The truth files are for checking
    results, never input. The same configuration gives the same bytes, whatever ``jobs``; patient i does not depend on
    the number of patients.

    Parameters
    ----------
    config
        Settings of the cohort.
    out
        Folder to write into; it is made if need be.
    on_progress
        Called with (patients done, patients in all).
    jobs
        Number of processes.
    """
    out.mkdir(parents=True, exist_ok=True)
    tasks = [(config, number, out) for number in range(config.patients)]
    done: list[_Rows] = []
    for rows in run_all(_simulate_patient, tasks, jobs=jobs):
        done.append(rows)
        if on_progress is not None:
            on_progress(len(done), config.patients)
    imaging = [row for rows in done for row in rows.imaging]
    write_text(out / "clinical.csv", _csv([rows.clinical for rows in done]))
    write_text(out / "imaging.csv", _csv(imaging))
    write_text(out / "truth_patients.csv", _csv([rows.truth for rows in done]))
    write_json(out / "truth.json", truth_statement(config))
    return SimulatedCohort(out, config.patients, len(imaging) // 2)


def truth_statement(config: SimulationConfig) -> dict[str, object]:
    """Content of ``truth.json``: the configuration and the coefficients of the data-generating model."""
    return {
        "config": config.model_dump(),
        "recurrence_log_hazard_ratios": {
            "texture": config.texture_effect,
            **{k: config.clinical_effect * b for k, b in outcomes.RECURRENCE_COEFFICIENTS.items()},
        },
        "conversion_log_odds_ratios": {
            "texture": -config.texture_effect,
            **{k: config.clinical_effect * b for k, b in outcomes.CONVERSION_COEFFICIENTS.items()},
        },
        "centres": dict(outcomes.CENTRES),
        "rates_per_month": asdict(outcomes.HAZARDS),
    }


def draw_scenes(config: SimulationConfig, plan: Plan) -> tuple[Scene, Scene | None]:
    """Anatomy and lesions at the first scan, and at restaging if the disease was initially unresectable."""
    rng = generator(config, plan.number, Stream.ANATOMY)
    disease = plan.disease
    anatomy = draw_anatomy(rng, remnant_pct=disease.sflr_pct, remnant_left=disease.remnant_left)
    planned = place_lesions(rng, anatomy, disease)
    labels, radius = render_lesions(anatomy, list(planned))
    labels, shapes = sorted_by_volume(labels, planned)
    organs = anatomy_labels(anatomy, labels, sflr_pct=disease.sflr_pct)
    first = Scene(anatomy, labels, radius, organs)
    if disease.resectable:
        return first, None
    return first, _restaging_scene(config, plan, first, shapes)


def _restaging_scene(config: SimulationConfig, plan: Plan, first: Scene, shapes: list[Shape]) -> Scene:
    """The same labels on the same grid; diameters change with the odds of conversion, loosely."""
    rng = generator(config, plan.number, Stream.RESPONSE)
    log_ratio = outcomes.log_diameter_ratio(rng, outcomes.true_risks(config, plan))
    labels, radius = render_lesions(first.anatomy, respond(rng, shapes, log_ratio))
    return Scene(first.anatomy, labels, radius, first.organs)


def _simulate_patient(config: SimulationConfig, number: int, out: Path) -> _Rows:
    plan = draw_plan(config, number)
    truth = outcomes.true_risks(config, plan)
    first, restaging = draw_scenes(config, plan)
    timepoint = "preoperative" if plan.disease.resectable else "baseline"
    folder = out / "images" / plan.patient_id
    folder.mkdir(parents=True, exist_ok=True)
    imaging = _write_ct(config, plan, first, timepoint, Stream.CT_FIRST, out, study_day=0)
    if plan.has_mr:
        imaging += _write_mr(config, plan, first, timepoint, out)
    after: Measured | None = None
    if restaging is not None:
        imaging += _write_ct(
            config, plan, restaging, "restaging", Stream.CT_RESTAGING, out, study_day=plan.restaging_day
        )
        after = measure(restaging.anatomy, restaging.labels, restaging.organs)
    before = measure(first.anatomy, first.labels, first.organs)
    outcome = outcomes.draw_outcome(config, plan, truth)
    return _Rows(clinical_row(config, plan, truth, outcome, before, after), imaging, outcomes.truth_row(config, plan))


def _write_ct(
    config: SimulationConfig, plan: Plan, scene: Scene, timepoint: str, stream: Stream, out: Path, *, study_day: int
) -> list[dict[str, object]]:
    image = render_ct(
        generator(config, plan.number, stream),
        scene.anatomy,
        scene.labels,
        scene.radius,
        texture=plan.texture,
        steatosis=plan.liver_quality == "steatosis",
        noise_hu=config.noise_hu,
    )
    return _write_scan(out, plan, scene, image, (timepoint, "CT", "portal_venous"), study_day)


def _write_mr(config: SimulationConfig, plan: Plan, scene: Scene, timepoint: str, out: Path) -> list[dict[str, object]]:
    rng = generator(config, plan.number, Stream.MR)
    image = render_mr(rng, scene.anatomy, scene.labels, scene.radius, texture=plan.texture)
    return _write_scan(out, plan, scene, image, (timepoint, "MR", "hbp"), plan.mr_study_day)


def _write_scan(
    out: Path, plan: Plan, scene: Scene, image: np.ndarray, kind: tuple[str, str, str], study_day: int
) -> list[dict[str, object]]:
    """Write an image and its two masks; returns their rows of the manifest."""
    timepoint, _, sequence = kind
    stem = f"images/{plan.patient_id}/{timepoint}_{sequence}"
    write_volume(as_volume(image, scene.anatomy.grid), out / f"{stem}.nii.gz")
    rows: list[dict[str, object]] = []
    for name, array, roles in (("lesions", scene.labels, LESION_ROLES), ("anatomy", scene.organs, ANATOMY_ROLES)):
        write_volume(as_volume(array, scene.anatomy.grid), out / f"{stem}_{name}.nii.gz")
        values = (plan.patient_id, *kind, f"{stem}.nii.gz", f"{stem}_{name}.nii.gz", roles, study_day)
        rows.append(dict(zip(IMAGING_COLUMNS, values, strict=True)))
    return rows


def _csv(rows: Iterable[dict[str, object]]) -> str:
    """CSV text: booleans as true and false, unknown as an empty cell, numbers in full precision."""
    rows = list(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return "" if value is None else value
