"""The question, answered: rules, clinical, radiomic and combined models of one endpoint side by side, with controls.

Nothing is estimated anew here but the account of permuted outcomes: estimates, intervals and p-values are those of the
tables ``metrics`` and ``comparisons``.

Which interval decides. What radiomics adds is a property of models that would be trained on as many patients, not of
the few dozen models that happened to be trained. The bootstrap of out-of-fold predictions holds these models fixed.
So where folds are random parts of the cohort, the difference is that of the means of the folds, with the corrected
resampled t interval of the fold-wise differences (:mod:`fold_intervals`), which allows for refitted models and for
training sets that overlap. In 30 simulated studies in which radiomics had no effect (``tests/truth_studies.py``, 350
patients) it excluded 0 in none, the bootstrap in nine. Centres, blocks of time and other cohorts are no random folds;
there the bootstrap over patients decides, and the method says that models are held fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from radiomics_crlm.evaluation.outcome import Floats, Kind, outcome_of
from radiomics_crlm.evaluation.ranking import primary, within_folds
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate, resamples

Verdict = Literal["adds", "no_evidence", "worse", "not_estimable", "absent"]

ARMS = ("rules", "clinical", "radiomics", "combined", "volume_only", "negative_control", "permuted_outcome")
"""Arms in the order of the table."""
CHANCE = "chance"
"""Reference of an arm that has none: a discrimination of 0.5."""
ANSWERS = [
    "endpoint", "arm", "model", "metric", "estimate", "lower", "upper", "n", "events", "reference", "difference",
    "difference_lower", "difference_upper", "p_value", "verdict", "method", "reason",
]  # fmt: skip
PERMUTED = ["endpoint", "model", "permutation", "metric", "estimate"]

_METHODS = {
    "fold_mean": "means of the folds; corrected resampled t (Nadeau and Bengio), which allows for refitted models",
    "within_fold": "pairs of the same fold; percentile bootstrap over patients, models held fixed",
}


@dataclass(frozen=True)
class Arm:
    """Model or rule of an arm, and what to say if there is none in the metrics."""

    model: str
    reason: str


def judge(lower: float, upper: float) -> Verdict:
    """Verdict of a difference: only an interval that excludes 0 is evidence.

    >>> judge(0.01, 0.05), judge(-0.03, 0.05), judge(-0.05, -0.01), judge(0.0, 0.05), judge(float("nan"), 0.05)
    ('adds', 'no_evidence', 'worse', 'no_evidence', 'not_estimable')
    """
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return "not_estimable"
    if lower > 0:
        return "adds"
    return "worse" if upper < 0 else "no_evidence"


def answer_table(
    metrics: pd.DataFrame,
    comparisons: pd.DataFrame,
    permuted: pd.DataFrame | None,
    *,
    endpoint: str,
    metric: str,
    arms: Mapping[str, Arm],
) -> pd.DataFrame:
    """Rows of the table ``answers`` of one endpoint.

    The clinical model is set against the rules, all other models against the clinical one; what has no such reference,
    against chance.

    Parameters
    ----------
    metrics, comparisons
        Tables of these names; rows of other endpoints are ignored.
    permuted
        Table ``permuted_outcomes``, or None.
    endpoint, metric
        Name of the endpoint and of its rank statistic, ``c_index`` or ``auc``.
    arms
        What stands for each arm, by the names of :data:`ARMS`.

    Returns
    -------
    DataFrame
        One row per arm; ``absent`` where the metrics have no such model.
    """
    here = [table[table["endpoint"] == endpoint] for table in (metrics, comparisons)]
    tables = _Tables(here[0], here[1], metric)
    rows: list[dict[str, Any]] = []
    models: dict[str, str] = {}
    for name in ARMS[:-1]:
        own = tables.own(arms[name].model)
        if own is None:
            rows.append({"arm": name, "verdict": "absent", "reason": arms[name].reason})
            continue
        before = ("rules",) if name == "clinical" else () if name == "rules" else ("clinical", "rules")
        reference = next((models[arm] for arm in before if arm in models), CHANCE)
        models[name] = arms[name].model
        rows.append({"arm": name, **_row(tables, own, reference)})
    repeated = None if permuted is None else permuted[permuted["endpoint"] == endpoint]
    rows.append({"arm": ARMS[-1], **_permuted_row(tables, repeated, arms[ARMS[-1]])})
    return pd.DataFrame(rows, columns=ANSWERS[1:]).assign(endpoint=endpoint)[ANSWERS]


@dataclass(frozen=True)
class _Tables:
    """Metrics and comparisons of one endpoint."""

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    metric: str

    def own(self, model: str) -> dict[str, Any] | None:
        """Row of a model in the rank statistic: the mean of the folds where there is one."""
        rows = self.metrics[self.metrics["model"] == model]
        return _first_of(rows, (f"{self.metric}_folds", self.metric))

    def against(self, model: str, reference: str) -> dict[str, Any] | None:
        """Difference model minus reference, of the mean of the folds where there is one."""
        wanted = (f"{self.metric}_folds", self.metric)
        saved = self.comparisons
        found = _first_of(saved[(saved["model"] == model) & (saved["reference"] == reference)], wanted)
        if found is not None:
            return found
        turned = _first_of(saved[(saved["model"] == reference) & (saved["reference"] == model)], wanted)
        if turned is None:
            return None
        ends = {"difference": -turned["difference"], "lower": -turned["upper"], "upper": -turned["lower"]}
        return turned | ends


def _first_of(rows: pd.DataFrame, metrics: tuple[str, ...]) -> dict[str, Any] | None:
    for metric in metrics:
        chosen = rows[rows["metric"] == metric]
        if len(chosen):
            return {str(name): value for name, value in chosen.iloc[0].to_dict().items()}
    return None


def _row(tables: _Tables, own: dict[str, Any], reference: str) -> dict[str, Any]:
    """One arm that has a model, set against its reference."""
    row = {name: own[name] for name in ("model", "metric", "estimate", "lower", "upper", "n", "events")}
    method = _METHODS.get(str(own["method"]), "")
    if reference == CHANCE:
        shifted = {name: float(own[name]) - 0.5 for name in ("estimate", "lower", "upper")}
        found = {"difference": shifted["estimate"], "lower": shifted["lower"], "upper": shifted["upper"]}
        words, note = [method, "chance is 0.5"], own.get("note")
    else:
        paired = tables.against(str(own["model"]), reference)
        if paired is None:
            reason = "the two models were not compared"
            return row | {"reference": reference, "verdict": "not_estimable", "method": method, "reason": reason}
        found, note = paired, paired["note"]
        words = [_METHODS.get(str(paired["method"]), method)]
        if int(paired["n"]) != int(own["n"]):
            words.append(f"difference in the {int(paired['n'])} patients whom both assess")
    verdict = judge(_number(found["lower"]), _number(found["upper"]))
    said = "" if pd.isna(note) else str(note)
    return row | {
        "reference": reference,
        "difference": _number(found["difference"]),
        "difference_lower": _number(found["lower"]),
        "difference_upper": _number(found["upper"]),
        "p_value": _number(found.get("p_value")),
        "verdict": verdict,
        "method": "; ".join(word for word in [*words, said] if word),
        "reason": (said or "the interval cannot be computed") if verdict == "not_estimable" else None,
    }


def _number(value: Any) -> float:
    return float("nan") if pd.isna(value) else float(value)


def _permuted_row(tables: _Tables, permuted: pd.DataFrame | None, arm: Arm) -> dict[str, Any]:
    """The arm of permuted outcomes, against chance."""
    own = _first_of(tables.metrics[tables.metrics["model"] == arm.model], (tables.metric,))
    rows = None if permuted is None else permuted[permuted["model"] == arm.model].sort_values("permutation")
    if own is None or rows is None or rows.empty:
        return {"verdict": "absent", "reason": arm.reason}
    values = rows.loc[rows["permutation"] > 0, "estimate"].to_numpy(dtype=float)
    true = float(rows.loc[rows["permutation"] == 0, "estimate"].iloc[0])
    spread, excess, p_value = permuted_account(values, true)
    verdict = judge(excess.lower, excess.upper)
    row = {
        "model": arm.model,
        "metric": tables.metric,
        "estimate": spread.value,
        "lower": spread.lower,
        "upper": spread.upper,
        "n": own["n"],
        "events": own["events"],
        "reference": CHANCE,
        "difference": excess.value,
        "difference_lower": excess.lower,
        "difference_upper": excess.upper,
        "p_value": p_value,
        "verdict": verdict,
        "method": f"mean and middle 95 % of {values.size} refits on outcomes permuted within the folds of the first "
        f"repeat; difference: t interval of their mean; p: share of all that reach the true outcome's {true:.3f}",
    }
    return row | ({"reason": "too few permutations for an interval"} if verdict == "not_estimable" else {})


def permuted_account(values: Floats, true: float) -> tuple[Estimate, Estimate, float]:
    """What permuted outcomes say.

    Models of permuted outcomes have an expected discrimination of exactly 0.5 in patients they have not seen, unless
    something leaks.

    Parameters
    ----------
    values
        Discrimination with each permuted outcome.
    true
        The same with the true outcome.

    Returns
    -------
    spread
        Mean of the values and their middle 95 %.
    excess
        Mean minus 0.5 and its 95 % t interval.
    p_value
        One-sided: (values that reach the true one + 1) / (values + 1).

    Examples
    --------
    >>> spread, excess, p = permuted_account(np.array([0.45, 0.5, 0.55, 0.5]), 0.62)
    >>> [round(number, 3) for number in (spread.value, spread.lower, spread.upper, excess.lower, excess.upper, p)]
    [0.5, 0.454, 0.546, -0.065, 0.065, 0.2]
    """
    if not values.size or not np.isfinite(values).all():
        return NOTHING, NOTHING, float("nan")
    mean = float(values.mean())
    low, high = (float(limit) for limit in np.quantile(values, (0.025, 0.975)))
    p_value = float(((values >= true - 1e-12).sum() + 1) / (values.size + 1)) if np.isfinite(true) else float("nan")
    excess = mean - 0.5
    if values.size < 2:
        return Estimate(mean, low, high), Estimate(excess, float("nan"), float("nan")), p_value
    reach = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return Estimate(mean, low, high), Estimate(excess, excess - reach, excess + reach), p_value


def discrimination(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, *, endpoint: str, kind: Kind, horizon: float | None
) -> float:
    """Rank statistic of an endpoint, pairs of the same fold, of one model in one repeat; NaN without a comparable pair.

    Parameters
    ----------
    predictions
        Rows of one model and one repeat of the table ``predictions``: ``patient_id, fold, risk``.
    outcomes
        ``patient_id, endpoint, event, months``; may hold more patients.
    endpoint, kind, horizon
        Which statistic (:func:`ranking.primary`).
    """
    patients = predictions["patient_id"].tolist()
    y = outcome_of(outcomes[outcomes["patient_id"].isin(patients)], endpoint, patients)
    risk = predictions[["risk"]].to_numpy(dtype=float)
    fold = predictions[["fold"]].to_numpy(dtype=np.int64)
    return float(within_folds(primary(y, kind, horizon), risk, fold, resamples(y, draws=0, seed=0))[0])
