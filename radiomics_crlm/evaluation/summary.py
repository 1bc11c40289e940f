"""From out-of-fold predictions and rule scores of one endpoint to the tables ``metrics`` and ``comparisons``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.calibration import brier_scores, calibration_line, observed_expected
from radiomics_crlm.evaluation.comparison import count_events, paired_difference
from radiomics_crlm.evaluation.discrimination import endpoint_pairs
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, check_outcome, outcome_of
from radiomics_crlm.evaluation.resampling import (
    Estimate,
    Ints,
    bootstrap_weights,
    percentile_estimate,
    stratified_concordance,
)

CALIBRATION_MONTHS = 24.0
"""Time at which probabilities of a time-to-event endpoint are judged if the caller names none."""

METRICS = ["endpoint", "model", "metric", "estimate", "lower", "upper", "n", "events", "horizon_months", "method"]
COMPARISONS = [
    "endpoint", "model", "reference", "metric", "n", "events", "difference", "lower", "upper", "p_value", "method",
]  # fmt: skip

Flags = np.ndarray[Any, np.dtype[np.bool_]]
_NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class _Bench:
    """Scores of all models and rules on the same patients and folds; bootstrap replicates are kept for paired use."""

    y: Outcome
    fold: Ints
    scores: dict[str, Floats]
    kind: Kind
    horizon: float | None
    seed: int
    draws: int
    _kept: dict[tuple[str, bytes], tuple[float, Floats]] = field(default_factory=dict)

    def assessed(self, name: str) -> Flags:
        """Who has this score."""
        return np.asarray(np.isfinite(self.scores[name]).all(axis=1), dtype=bool)

    def replicates(self, name: str, rows: Flags, *, whole: bool = False) -> tuple[float, Floats]:
        """Concordance of a score on some patients, and its bootstrap replicates: the same draws for all scores."""
        key = (f"{name} {whole}", rows.tobytes())
        if key not in self._kept:
            self._kept[key] = self._replicates(name, rows, whole)
        return self._kept[key]

    def _replicates(self, name: str, rows: Flags, whole: bool) -> tuple[float, Floats]:
        n = int(rows.sum())
        if n == 0:
            return float("nan"), np.full(self.draws, np.nan)
        risk, fold = self.scores[name][rows], self.fold[rows]
        if whole:
            risk, fold = risk[:, :1], np.zeros((n, 1), dtype=np.int64)
        sums = stratified_concordance(endpoint_pairs(self.y[rows], self.kind, self.horizon), risk, fold)
        return sums.estimate(), sums.replicates(bootstrap_weights(n, self.draws, self.seed))


def evaluate_predictions(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, folds: pd.DataFrame, *,
    endpoint: str, horizon: float | None, kind: Kind, seed: int, draws: int = 2000, rules: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Metrics of all models and rule scores of one endpoint, and all paired comparisons that involve a model.

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
        Bootstrap over patients.
    rules
        Scores that were not fitted here: one row per patient (index ``patient_id``), one column per score,
        higher = event more likely, empty where a patient is not assessed. They are judged on the same folds,
        and also on all pairs.

    Returns
    -------
    metrics, comparisons
        As the schemas say; models in the order of the predictions, then rules.

    Raises
    ------
    InputError
        For patients without a fold, incomplete or repeated predictions, predictions of other folds or patients,
        a model and a rule of the same name, a constant target.
    """
    rows = predictions.loc[predictions["endpoint"] == endpoint]
    patients = pd.Index(sorted(outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"]), dtype=object)
    y = outcome_of(outcomes, endpoint, list(patients))
    label_at = horizon if kind == "binary" else None
    check_outcome(y, horizon=label_at, min_events=1, where=endpoint)
    fold = _fold_matrix(folds, patients)
    models = {str(model): _model_scores(part, fold, str(model)) for model, part in rows.groupby("model", sort=False)}
    scores = {name: part["risk"] for name, part in models.items()}
    rule_scores = {} if rules is None else _rule_scores(rules, patients, fold.shape[1])
    if clash := sorted(set(scores) & set(rule_scores)):
        raise InputError("a model and a rule have the same name", where=", ".join(clash))
    bench = _Bench(y, fold.to_numpy(), scores | rule_scores, kind, label_at, seed, draws)
    judged_at = CALIBRATION_MONTHS if horizon is None else horizon
    metrics = [_discrimination(bench, name, whole=False) for name in bench.scores]
    metrics += [_discrimination(bench, name, whole=True) for name in rule_scores]
    for name, part in models.items():
        metrics += _calibration(bench, name, part.get(f"probability_{judged_at:g}m"), judged_at)
    names = list(bench.scores)
    pairs = [(a, b) for i, b in enumerate(names) for a in names[:i] if a in models]
    # The later model is set against the earlier one (richer feature sets come later), a model against each rule.
    ordered = [(a, b) if b in rule_scores else (b, a) for a, b in pairs]
    compared = [_comparison(bench, model, reference) for model, reference in ordered]
    return (
        pd.DataFrame(metrics, columns=METRICS[1:]).assign(endpoint=endpoint)[METRICS],
        pd.DataFrame(compared, columns=COMPARISONS[1:]).assign(endpoint=endpoint)[COMPARISONS],
    )


def _fold_matrix(folds: pd.DataFrame, patients: pd.Index) -> pd.DataFrame:
    if folds.duplicated(["patient_id", "repeat"]).any():
        raise InputError("patients are in more than one fold of a repeat", where="folds")
    wide = folds.pivot(index="patient_id", columns="repeat", values="fold").reindex(patients)
    lacking = int(wide.isna().any(axis=1).sum())
    if lacking or wide.shape[1] == 0:
        raise InputError(f"{lacking} patients lack a fold", where="folds", expected="one fold per patient and repeat")
    return wide.astype(np.int64)


def _model_scores(rows: pd.DataFrame, fold: pd.DataFrame, model: str) -> dict[str, Floats]:
    """Risk and probabilities of a model, each patients x repeats; NaN for patients it did not predict in any repeat."""
    if rows.duplicated(["patient_id", "repeat"]).any():
        raise InputError("patients are predicted more than once in a repeat", where=f"predictions, {model}")
    wide = {
        column: rows.pivot(index="patient_id", columns="repeat", values=column)
        for column in rows.columns
        if column in ("fold", "risk") or column.startswith("probability_")
    }
    foreign = wide["risk"].index.difference(fold.index)
    if len(foreign):
        raise InputError(f"{len(foreign)} predicted patients have no outcome", where=f"predictions, {model}")
    wide = {name: part.reindex(index=fold.index, columns=fold.columns) for name, part in wide.items()}
    predicted = wide["risk"].notna()
    if (predicted.any(axis=1) & ~predicted.all(axis=1)).any():
        raise InputError("patients are predicted in some repeats only", where=f"predictions, {model}")
    if ((wide["fold"] != fold) & predicted).any(axis=None):
        raise InputError("predictions come from other folds than those given", where=f"predictions, {model}")
    return {name: part.to_numpy(dtype=float) for name, part in wide.items() if name != "fold"}


def _rule_scores(rules: pd.DataFrame, patients: pd.Index, repeats: int) -> dict[str, Floats]:
    if rules.index.has_duplicates:
        raise InputError("patients have more than one row of rule scores", where="rules")
    aligned = rules.reindex(patients)
    return {
        str(name): np.repeat(aligned[name].to_numpy(dtype=float, na_value=np.nan)[:, None], repeats, axis=1)
        for name in rules.columns
    }


def _discrimination(bench: _Bench, name: str, *, whole: bool) -> tuple[Any, ...]:
    rows = bench.assessed(name)
    value, replicates = bench.replicates(name, rows, whole=whole)
    metric = ("auc" if bench.kind == "binary" else "c_index") + ("_whole" if whole else "")
    method = "whole_sample" if whole else "within_fold"
    at = float("nan") if bench.horizon is None else bench.horizon
    return _row(bench, name, rows, metric, percentile_estimate(value, replicates), at, method)


def _calibration(bench: _Bench, name: str, probability: Floats | None, months: float) -> list[tuple[Any, ...]]:
    """Rows that judge probabilities; none if the model gives no probability at this time."""
    rows = bench.assessed(name)
    if probability is None or np.isnan(probability[rows]).all():
        return []
    rows &= np.isfinite(probability).all(axis=1)
    y, p = bench.y[rows], probability[rows]
    weights = bootstrap_weights(y.size, bench.draws, bench.seed)
    brier, scaled = brier_scores(y, p, months, weights)
    slope, intercept = calibration_line(y, p, months)
    estimates = {
        "brier": brier,
        "brier_scaled": scaled,
        "observed_expected": observed_expected(y, p, months, weights),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }
    return [_row(bench, name, rows, metric, value, months, "out_of_fold") for metric, value in estimates.items()]


def _row(
    bench: _Bench, name: str, rows: Flags, metric: str, estimate: Estimate, months: float, method: str
) -> tuple[Any, ...]:  # fmt: skip
    n = int(rows.sum())
    events = count_events(bench.y[rows], None if np.isnan(months) else months) if n else 0
    known = np.isfinite(estimate.value)
    shown = estimate if known else _NOTHING
    return (
        name, metric, shown.value, shown.lower, shown.upper, n, events, months, method if known else "not_computable",
    )  # fmt: skip


def _comparison(bench: _Bench, model: str, reference: str) -> tuple[Any, ...]:
    rows = bench.assessed(model) & bench.assessed(reference)
    first, second = bench.replicates(model, rows), bench.replicates(reference, rows)
    difference, p_value = paired_difference(first[0] - second[0], first[1], second[1])
    metric = "auc" if bench.kind == "binary" else "c_index"
    _, _, value, lower, upper, n, events, _, method = _row(
        bench, model, rows, metric, difference, float("nan") if bench.horizon is None else bench.horizon, "within_fold"
    )
    return model, reference, metric, n, events, value, lower, upper, p_value, method
