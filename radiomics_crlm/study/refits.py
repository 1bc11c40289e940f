"""Delivered models refitted on bootstrap samples of their patients: the table ``instability``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.config import ExperimentConfig
from radiomics_crlm.evaluation.instability import INSTABILITY, bootstrap_samples, instability_of
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.outer import CvDesign
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.modelling.train import pipeline_probability
from radiomics_crlm.study.checkpoints import Checkpoints
from radiomics_crlm.study.cross_validation import cross_validate
from radiomics_crlm.study.models import design_of
from radiomics_crlm.study.plans import Plan
from radiomics_crlm.study.prepare import Prepared, Progress

COLUMNS = ["endpoint", "model", "horizon_months", "patient_id", *INSTABILITY[1:], "draws"]


def refit_models(
    experiment: ExperimentConfig,
    prepared: Prepared,
    delivered: Mapping[str, tuple[Plan, Pipeline]],
    *,
    jobs: int,
    progress: Progress,
    dask: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> pd.DataFrame:
    """Refit each delivered model, tuning included, on ``design.refits`` bootstrap samples of its patients.

    Parameters
    ----------
    experiment, prepared
        The experiment and its tables.
    delivered
        Plan and final model of each endpoint.
    jobs, dask, checkpoints
        As in :func:`study.models.train_models`; the result depends on none of them.
    progress
        Callback ``(stage, done, total)``.

    Returns
    -------
    DataFrame
        Table ``instability``, at the horizon of a binary model and at 12, 24 and 36 months of any other; no rows unless
        the experiment asks for refits, and none at a time of which the model or one of its refits does not speak.
    """
    draws = experiment.design.refits
    judged: list[tuple[Plan, CvDesign, dict[float, Floats]]] = []
    for plan, pipeline in delivered.values() if draws else ():
        design = design_of(experiment, prepared, plan)
        months = REPORT_MONTHS if design.horizon is None else (design.horizon,)
        originals = dict(zip(months, pipeline_probability(pipeline, design.X, months).T, strict=True))
        spoken = {month: original for month, original in originals.items() if np.isfinite(original).all()}
        if spoken:
            judged.append((plan, design, spoken))
    results = cross_validate(
        [refit(one, rows, n) for _, one, _ in judged for n, rows in enumerate(samples_of(one, draws))],
        checkpoints=checkpoints,
        jobs=jobs,
        dask=dask,
        on_progress=lambda done, total: progress("refit", done, total),
    )
    tables = []
    for number, (plan, design, spoken) in enumerate(judged):
        own = results[number * draws : (number + 1) * draws]
        for month, original in spoken.items():
            refits = np.array([result.predictions[f"probability_{month:.0f}m"] for result in own], dtype=float)
            if np.isfinite(refits).all():
                tables.append(_rows(plan, month, design, refits, original))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def refit(design: CvDesign, rows: np.ndarray, number: int) -> CvDesign:
    """A design that fits once, on a sample with repetition, and predicts all patients of the original.

    A patient keeps the key in every copy, so that inner folds hold the copies together; the patients who are predicted
    get keys of their own, because in this design they are no test patients.
    """
    named = design.X.set_axis(pd.Index([f"{key} as predicted" for key in design.X.index], name=design.X.index.name))
    X = pd.concat([design.X.iloc[rows], named])
    fitted_first = np.repeat([0, 1], [len(rows), len(named)])
    folds = pd.DataFrame({number: fitted_first}, index=X.index)
    return replace(design, X=X, y=np.concatenate([design.y[rows], design.y]), folds=folds, forward=True, resampled=True)


def samples_of(design: CvDesign, draws: int) -> list[np.ndarray]:
    """Bootstrap samples in which a model can be tuned: with at least as many patients of either kind as there are inner
    folds, or, where the cohort is too small for that, half of them."""
    event = design.y["event"] == 1
    if design.horizon is not None:
        event &= design.y["months"] <= design.horizon
    kinds = (event, ~event)
    least = [min(design.inner_folds, (int(kind.sum()) + 1) // 2) for kind in kinds]
    found: list[np.ndarray] = []
    seed = design.seed
    while len(found) < draws:
        for rows in bootstrap_samples(len(event), draws=draws, seed=seed):
            drawn = np.unique(rows)
            if all(kind[drawn].sum() >= count for kind, count in zip(kinds, least, strict=True)):
                found.append(rows)
        seed += 1
    return found[:draws]


def _rows(plan: Plan, months: float, design: CvDesign, refits: Floats, original: Floats) -> pd.DataFrame:
    found = instability_of(refits, original)
    table = found.table.drop(columns="patient").assign(
        endpoint=plan.endpoint, model=plan.name, horizon_months=months, patient_id=design.X.index, draws=found.draws
    )
    return table[COLUMNS]
