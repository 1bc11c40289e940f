"""From out-of-fold predictions and rule scores of one endpoint to the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.evaluation.average_precision import precision_values
from radiomics_crlm.evaluation.bench import Bench, Flags, count_events, followed_to, set_up_bench
from radiomics_crlm.evaluation.calibration import calibration_line
from radiomics_crlm.evaluation.comparison import COMPARISONS, comparison_table, folds_note
from radiomics_crlm.evaluation.decision import CURVE, decision_curve, reference_curves
from radiomics_crlm.evaluation.fold_intervals import fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.outcome import Kind
from radiomics_crlm.evaluation.reclassification import reclassification
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate, estimate_of
from radiomics_crlm.evaluation.smooth_calibration import SmoothCalibration, smooth_calibration
from radiomics_crlm.evaluation.subgroups import SUBGROUPS, subgroup_table
from radiomics_crlm.evaluation.survival_scores import (
    expected_values,
    integrated_brier_values,
    log_loss_values,
    scaled_brier_values,
)

__all__ = ["COMPARISONS", "METRICS", "SUBGROUPS", "evaluate_endpoint", "evaluate_predictions"]

METRICS = [
    "endpoint", "model", "metric", "estimate", "lower", "upper", "n", "events", "horizon_months", "method", "note",
]  # fmt: skip
DECISION_CURVES = ["endpoint", "model", "horizon_months", "n", *CURVE]
CALIBRATION_CURVES = ["endpoint", "model", "horizon_months", "n", "predicted", "observed", "lower", "upper"]
RECLASSIFICATION = [
    "endpoint", "model", "reference", "metric", "n", "events", "horizon_months", "estimate", "lower", "upper",
    "caution",
]  # fmt: skip
_PROBABILITY_METRICS = (
    "auc_horizon", "brier", "brier_scaled", "log_loss", "observed_expected", "calibration_slope",
    "calibration_intercept", "ici", "e50", "e90",
)  # fmt: skip
_NAN = float("nan")
_Rows = list[tuple[Any, ...]]


def evaluate_predictions(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, folds: pd.DataFrame, *,
    endpoint: str, horizon: float | None, kind: Kind, seed: int, draws: int = 2000, rules: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Metrics of all models and rule scores of one endpoint, and all paired comparisons.

    Parameters and errors as in :func:`evaluate_endpoint`.

    Returns
    -------
    metrics, comparisons
        As the schemas say; models in the order of the predictions, then rules.
    """
    bench = set_up_bench(
        predictions, outcomes, folds, endpoint=endpoint, horizon=horizon, kind=kind, seed=seed, draws=draws,
        rules=rules, rule_models=None, random_folds=True,
    )  # fmt: skip
    return _metrics(bench, _at_horizon(bench, bench.judged_at)[0]), comparison_table(bench)


def evaluate_endpoint(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, folds: pd.DataFrame, *,
    endpoint: str, horizon: float | None, kind: Kind, seed: int, draws: int = 2000, rules: pd.DataFrame | None = None,
    rule_models: pd.DataFrame | None = None, levels: pd.DataFrame | None = None, categories: Sequence[float] = (),
    random_folds: bool = True,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """All tables of the evaluation of one endpoint.

    Parameters
    ----------
    predictions
        Table ``predictions``; rows of other endpoints are ignored.
    outcomes
        Table ``outcomes``; the patients of the endpoint are those evaluated.
    folds
        Table ``folds``; needs these patients, may hold more.
    endpoint
        Which one.
    horizon
        Months. For ``binary``, of the label; for ``time_to_event``, of the probabilities judged (24 if None).
    kind
        ``binary`` (AUC) or ``time_to_event`` (Harrell's C).
    seed, draws
        Bootstrap over patients, and permutations.
    rules
        Scores that were not fitted here: one row per patient (index ``patient_id``), one column per score,
        higher = event more likely, empty where a patient is not assessed. They are judged on the same folds,
        and also on all pairs.
    rule_models
        Rules with probabilities, rows as in ``predictions``.
    levels
        Subgroups (:func:`subgroups.subgroup_levels`), index ``patient_id``.
    categories
        Cut points of risk; without any, nothing is said about reclassification.
    random_folds
        Whether the folds are random parts of the cohort, as in cross-validation; only then is a mean of the folds
        given. Centres and blocks of time are not, nor is a cohort that is tested as a whole.

    Returns
    -------
    Tables by name
        ``metrics``, ``comparisons``, ``horizon_metrics``, ``decision_curves``, ``calibration_curves``, ``subgroups``,
        ``reclassification``; each as its schema says, the last two empty unless asked for.

    Raises
    ------
    InputError
        For patients without a fold, incomplete or repeated predictions, predictions of other folds or patients,
        a model and a rule of the same name, a constant target.
    """
    bench = set_up_bench(
        predictions, outcomes, folds, endpoint=endpoint, horizon=horizon, kind=kind, seed=seed, draws=draws,
        rules=rules, rule_models=rule_models, random_folds=random_folds,
    )  # fmt: skip
    judged: _Rows = []
    by_horizon: _Rows = []
    curves: list[pd.DataFrame] = []
    for months in bench.horizons:
        rows, smooth = _at_horizon(bench, months)
        by_horizon += rows
        curves += smooth
        judged = rows if months == bench.judged_at else judged
    patients = sorted(outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"])
    return {
        "metrics": _metrics(bench, judged),
        "comparisons": comparison_table(bench),
        "horizon_metrics": _framed(bench, by_horizon),
        "decision_curves": _stacked(_decision_curves(bench), DECISION_CURVES),
        "calibration_curves": _stacked(curves, CALIBRATION_CURVES),
        "subgroups": pd.DataFrame(columns=SUBGROUPS) if levels is None else subgroup_table(bench, levels.loc[patients]),
        "reclassification": _reclassification(bench, categories),
    }


def _framed(bench: Bench, rows: _Rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=METRICS[1:]).assign(endpoint=bench.endpoint)[METRICS]


def _stacked(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _metrics(bench: Bench, judged: _Rows) -> pd.DataFrame:
    """The table ``metrics``; ``judged`` are the rows at the horizon of the endpoint."""
    by_role = {role: [n for n, s in bench.scores.items() if s.role == role] for role in ("model", "rule", "rule_model")}
    rows = [_ranked(bench, name, bench.metric, bench.horizon) for name in bench.scores]
    rows += [_ranked(bench, name, bench.metric, bench.horizon, whole=True) for name in by_role["rule"]]
    for name in bench.scores:
        if bench.kind == "time_to_event":
            rows.append(_ranked(bench, name, "c_index_uno", bench.truncated_at))
        if bench.kind == "time_to_event" and bench.competing:
            rows.append(_ranked(bench, name, "c_index_competing", bench.truncated_at))
        if bench.kind == "binary":
            rows.append(_precision(bench, name))
    rows += [_fold_mean(bench, name) for name in by_role["model"] if bench.random_folds]
    rows += judged
    for name in [*by_role["model"], *by_role["rule_model"]]:
        rows += _integrated(bench, name)
    return _framed(bench, rows)


def _row(
    bench: Bench, name: str, metric: str, rows: Flags, estimate: Estimate, months: float | None, method: str,
    note: str | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    n = int(rows.sum())
    events = count_events(bench.y[rows], months) if n else 0
    known = np.isfinite(estimate.value)
    shown = estimate if known else NOTHING
    numbers = (shown.value, shown.lower, shown.upper, n, events, _NAN if months is None else months)
    return (name, metric, *numbers, method if known else "not_computable", note)


def _ranked(bench: Bench, name: str, metric: str, months: float | None, *, whole: bool = False) -> tuple[Any, ...]:
    rows = bench.assessed(name)
    at = months if metric == "auc_horizon" else None
    estimate = estimate_of(bench.rank(metric, name, rows, at, whole=whole))
    note = f"pairs with an event before {months:g} months" if metric in ("c_index_uno", "c_index_competing") else None
    title, method = (f"{metric}_whole", "whole_sample") if whole else (metric, "within_fold")
    return _row(bench, name, title, rows, estimate, months, method, note)


def _precision(bench: Bench, name: str) -> tuple[Any, ...]:
    rows, estimate, note = bench.assessed(name), NOTHING, None
    if rows.any():
        sample = bench.at(rows, bench.judged_at)
        estimate = estimate_of(precision_values(sample, bench.scores[name].risk[rows], bench.fold[rows]))
        note = f"chance is the incidence, {float(sample.incidence[0]):.2f}"
    return _row(bench, name, "average_precision", rows, estimate, bench.judged_at, "within_fold", note)


def _fold_mean(bench: Bench, name: str) -> tuple[Any, ...]:
    rows = bench.assessed(name)
    statistic, sample = bench.statistic(bench.metric, rows), bench.sample(rows)
    found = fold_scores(statistic, bench.scores[name].risk[rows], bench.fold[rows], sample)
    estimate, _ = nadeau_bengio(found, lowest=0.0, highest=1.0, null=0.5)
    note = folds_note(found.skipped, found.scores.size)
    return _row(bench, name, f"{bench.metric}_folds", rows, estimate, bench.horizon, "fold_mean", note)


def _integrated(bench: Bench, name: str) -> _Rows:
    """Integrated Brier score over the horizons at which a model speaks; none for fewer than two."""
    months = [m for m in bench.horizons if bench.assessed(name, m).any()]
    if not months:
        return []
    rows = np.logical_and.reduce([bench.assessed(name, m) for m in months])
    months = [m for m in months if followed_to(bench.y[rows], m)]
    if len(months) < 2:
        return []
    samples = [bench.at(rows, m) for m in months]
    values = integrated_brier_values(samples, [bench.scores[name].probability[m][rows] for m in months], months)
    note = f"mean over {months[0]:g} to {months[-1]:g} months, known at {', '.join(f'{m:g}' for m in months)}"
    return [
        _row(bench, name, metric, rows, estimate_of(found), months[-1], "out_of_fold", note)
        for metric, found in zip(("brier_integrated", "brier_integrated_scaled"), values, strict=True)
    ]


def _at_horizon(bench: Bench, months: float) -> tuple[_Rows, list[pd.DataFrame]]:
    """Rows that judge ranks and probabilities at a horizon, and the calibration curves."""
    found: _Rows = []
    curves = []
    for name in bench.scores:
        rows = bench.assessed(name, months)
        if bench.kind == "time_to_event":
            found.append(_auc_horizon(bench, name, months))
        if not rows.any():
            continue
        if not followed_to(bench.y[rows], months):
            note = f"nobody is followed for {months:g} months"
            found += [_row(bench, name, metric, rows, NOTHING, months, "", note) for metric in _PROBABILITY_METRICS[1:]]
            continue
        estimates, smooth = _calibrated(bench, name, rows, months)
        found += [_row(bench, name, metric, rows, value, months, "out_of_fold") for metric, value in estimates.items()]
        curve = {"predicted": smooth.predicted, "observed": smooth.observed, "lower": smooth.lower}
        if np.isfinite(smooth.observed).all():
            table = pd.DataFrame(curve | {"upper": smooth.upper})
            curves.append(table.assign(endpoint=bench.endpoint, model=name, horizon_months=months, n=int(rows.sum())))
    return found, curves


def _auc_horizon(bench: Bench, name: str, months: float) -> tuple[Any, ...]:
    rows = bench.assessed(name)
    if rows.any() and not followed_to(bench.y[rows], months):
        note = f"nobody is followed for {months:g} months"
        return _row(bench, name, "auc_horizon", rows, NOTHING, months, "", note)
    return _ranked(bench, name, "auc_horizon", months)


def _calibrated(bench: Bench, name: str, rows: Flags, months: float) -> tuple[dict[str, Estimate], SmoothCalibration]:
    p, sample = bench.scores[name].probability[months][rows], bench.at(rows, months)
    slope, intercept = calibration_line(bench.y[rows], p, months)
    smooth = smooth_calibration(sample, p)
    estimates = {
        "brier": estimate_of(bench.brier(name, rows, months)),
        "brier_scaled": estimate_of(scaled_brier_values(sample, p)),
        "log_loss": estimate_of(log_loss_values(sample, p)),
        "observed_expected": estimate_of(expected_values(sample, p)),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "ici": smooth.ici,
        "e50": smooth.e50,
        "e90": smooth.e90,
    }
    return estimates, smooth


def _decision_curves(bench: Bench) -> list[pd.DataFrame]:
    """Curves of everything that gives probabilities, and of treating all and none, at each horizon."""
    parts = []
    for months in bench.horizons:
        if not followed_to(bench.y, months):
            continue
        speaking = [name for name in bench.scores if bench.assessed(name, months).any()]
        if not speaking:
            continue
        here = [(name, bench.y.size, curve) for name, curve in reference_curves(bench.y, months).items()]
        for name in speaking:
            rows = bench.assessed(name, months)
            curve = decision_curve(bench.y[rows], bench.scores[name].probability[months][rows], months)
            here.append((name, int(rows.sum()), curve))
        parts += [
            curve.assign(endpoint=bench.endpoint, model=name, horizon_months=months, n=n) for name, n, curve in here
        ]
    return parts


def _reclassification(bench: Bench, categories: Sequence[float]) -> pd.DataFrame:
    """Later models against earlier ones, and models against rules with probabilities, at the horizon judged."""
    found: _Rows = []
    months, role = bench.judged_at, {name: score.role for name, score in bench.scores.items()}
    names = [name for name in bench.scores if bench.assessed(name, months).any()] if len(categories) else []
    pairs = [(a, b) for i, b in enumerate(names) for a in names[:i] if role[a] == "model"]
    for a, b in pairs:
        new, old = (b, a) if role[b] == "model" else (a, b)
        rows = bench.assessed(new, months) & bench.assessed(old, months)
        if not rows.any() or not followed_to(bench.y[rows], months):
            continue
        p = [bench.scores[name].probability[months][rows] for name in (old, new)]
        result = reclassification(bench.at(rows, months), *p, cuts=categories)
        head = (int(rows.sum()), count_events(bench.y[rows], months), months)
        found += [
            (new, old, metric, *head, e.value, e.lower, e.upper, result.caution)
            for metric, e in result.measures.items()
        ]
    return pd.DataFrame(found, columns=RECLASSIFICATION[1:]).assign(endpoint=bench.endpoint)[RECLASSIFICATION]
