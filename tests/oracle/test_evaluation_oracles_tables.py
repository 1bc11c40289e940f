"""The tables of an evaluation, end to end, against scikit-survival, lifelines and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain_statistics as plain
from lifelines.utils import concordance_index
from oracle_comparison import Compare, oracle
from random_outcomes import as_sksurv, draw
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc, integrated_brier_score

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.evaluation.ranking import truncation
from radiomics_crlm.evaluation.subgroups import cell_counts
from radiomics_crlm.evaluation.summary import evaluate_endpoint

_MONTHS = (12, 24, 36)
_ENDPOINT = ("summary.evaluate_endpoint", "bench.set_up_bench", "bench.Bench", "bench.Score", "bench.count_events")


def _study(seed: int, *, competing: bool) -> tuple[Outcome, pd.DataFrame, dict[str, pd.DataFrame]]:
    """Outcomes over four years without ties, and one model's predictions in a single fold."""
    y, risk, generator = draw(seed, competing=competing, smallest=60, largest=90)
    y["months"] = y["months"] * 3 + generator.permutation(y.size) / (3 * y.size)
    patients = [f"P{i:03d}" for i in range(y.size)]
    p = np.sort(1 / (1 + np.exp(-risk[:, None] - generator.normal(size=(y.size, 3)))), axis=1)
    predictions = pd.DataFrame({"endpoint": "e", "model": "m", "patient_id": patients, "repeat": 0, "fold": 0})
    predictions["risk"] = risk
    for column, month in enumerate(_MONTHS):
        predictions[f"probability_{month}m"] = p[:, column]
    outcomes = pd.DataFrame({"patient_id": patients, "endpoint": "e", "event": y["event"], "months": y["months"]})
    folds = pd.DataFrame({"patient_id": patients, "repeat": 0, "fold": 0})
    return y, predictions, {"outcomes": outcomes, "folds": folds}


def _value(table: pd.DataFrame, metric: str, months: float | None = None) -> float:
    rows = table[(table["metric"] == metric) & ((table["horizon_months"] == months) | (months is None))]
    assert len(rows) == 1, metric
    return float(rows["estimate"].iloc[0])


@oracle(
    "Tables of a time-to-event endpoint",
    against="lifelines (C), scikit-survival (Uno's C, AUC, Brier score and its integral)",
    covers=(*_ENDPOINT, "bench.followed_to", "ranking.truncation"),
    fast=20,
)
def test_tables_of_a_time_to_event(compare: Compare) -> None:
    for seed in compare:
        y, predictions, tables = _study(seed, competing=False)
        if y["months"].max() <= 37:
            continue
        found = evaluate_endpoint(
            predictions, **tables, endpoint="e", horizon=None, kind="time_to_event", seed=seed, draws=2
        )
        metrics, horizons = found["metrics"], found["horizon_metrics"]
        survival, risk = as_sksurv(y), predictions["risk"].to_numpy()
        p = predictions[[f"probability_{month}m" for month in _MONTHS]].to_numpy()
        compare(seed, _value(metrics, "c_index"), concordance_index(y["months"], -risk, y["event"] == 1))
        compare(
            seed, _value(metrics, "c_index_uno"), concordance_index_ipcw(survival, survival, risk, truncation(y))[0]
        )
        _, expected = brier_score(survival, survival, 1 - p, _MONTHS)
        compare(seed, [_value(horizons, "brier", month) for month in _MONTHS], expected)
        integral = integrated_brier_score(survival, survival, 1 - p, _MONTHS)
        compare(seed, _value(metrics, "brier_integrated"), integral)
        areas = [cumulative_dynamic_auc(survival, survival, p[:, k], [month])[0][0] for k, month in enumerate(_MONTHS)]
        compare(seed, [_value(horizons, "auc_horizon", month) for month in _MONTHS], areas)


@oracle(
    "Tables of a binary endpoint and its subgroups",
    against="scikit-learn (AUC, average precision, log loss), weights and incidence written plainly",
    covers=(*_ENDPOINT, "summary.evaluate_predictions", "subgroups.subgroup_table", "subgroups.cell_counts"),
    fast=20,
)
def test_tables_of_a_label(compare: Compare) -> None:
    for seed in compare:
        y, predictions, tables = _study(seed, competing=True)
        label, weight = plain.labels(y, 24.0)
        inside = np.arange(y.size) % 2 == 0
        levels = pd.DataFrame({"half": np.where(inside, "first", "second")}, index=predictions["patient_id"])
        asked = {"endpoint": "e", "horizon": 24.0, "kind": "binary", "seed": seed, "draws": 2}
        found = evaluate_endpoint(predictions, **tables, **asked, levels=levels)
        metrics = found["metrics"]
        risk, p = predictions["risk"].to_numpy(), predictions["probability_24m"].to_numpy()
        expected = {
            "auc": roc_auc_score(label, risk, sample_weight=weight),
            "average_precision": average_precision_score(label, risk, sample_weight=weight),
            "log_loss": log_loss(label, p, sample_weight=weight) * weight.sum() / y.size,
            "brier": (weight * (label - p) ** 2).mean(),
            "observed_expected": plain.incidence(y, 24.0) / p.mean(),
        }
        compare(seed, [_value(metrics, name) for name in expected], list(expected.values()))
        half = found["subgroups"].query("level == 'first' and metric == 'auc'").iloc[0]
        label, weight = plain.labels(y[inside], 24.0)
        counts = [(label == 1).sum(), ((label == 0) & (weight > 0)).sum()]
        compare(seed, half[["n", "events", "nonevents"]], [inside.sum(), *counts])
        compare(seed, cell_counts(y[inside], 24.0), counts)
        if min(counts) >= 10:
            compare(seed, half["estimate"], roc_auc_score(label, risk[inside], sample_weight=weight))
