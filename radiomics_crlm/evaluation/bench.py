"""All scores of one endpoint on the same patients, folds and bootstrap draws, ready to be judged and compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome, check_outcome, horizon_labels, outcome_of
from radiomics_crlm.evaluation.ranking import (
    RankStatistic,
    auc_at,
    competing_risks,
    fold_agreement,
    fold_mates,
    primary,
    rank_values,
    truncation,
    uno,
)
from radiomics_crlm.evaluation.resampling import HorizonSample, Ints, Resamples, resamples
from radiomics_crlm.evaluation.survival_scores import brier_values

CALIBRATION_MONTHS = 24.0
"""Time at which probabilities of a time-to-event endpoint are judged if the caller names none."""
HORIZONS = (12.0, 24.0, 36.0)
"""Times at which probabilities of a time-to-event endpoint are given."""

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Role = Literal["model", "rule", "rule_model"]
_Value = TypeVar("_Value")
# Large arrays that are kept: of resamples x patients, and of patients x patients.
_SAMPLES_KEPT, _PAIRS_KEPT = 3, 24


@dataclass(frozen=True)
class Score:
    """One model or rule: risk and probabilities (by months), patients x repeats, NaN where a patient is not assessed.

    A ``model`` was fitted here; a ``rule`` was not and is a rank only; a ``rule_model`` is a rule with probabilities.
    """

    risk: Floats
    role: Role
    probability: Mapping[float, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Scores of all models and rules on the same patients and folds.

    Parameters
    ----------
    endpoint, kind, horizon
        ``horizon`` is that of the label of a binary endpoint, else None.
    y, fold
        Outcomes, and outer test folds (patients x repeats).
    scores
        By name.
    judged_at
        Months at which probabilities are judged.
    truncated_at
        Months up to which Uno's C counts.
    seed, draws
        Bootstrap over patients.
    random_folds
        Whether there are several folds, drawn at random.
    """

    endpoint: str
    kind: Kind
    horizon: float | None
    y: Outcome
    fold: Ints
    scores: Mapping[str, Score]
    judged_at: float
    truncated_at: float
    seed: int
    draws: int
    random_folds: bool
    _samples: dict[Hashable, Resamples] = field(default_factory=dict, repr=False, compare=False)
    _pairs: dict[Hashable, Floats] = field(default_factory=dict, repr=False, compare=False)
    _values: dict[Hashable, Floats] = field(default_factory=dict, repr=False, compare=False)

    @property
    def horizons(self) -> tuple[float, ...]:
        """Months at which probabilities may be given."""
        return HORIZONS if self.horizon is None else (self.horizon,)

    @property
    def metric(self) -> str:
        """Name of the statistic of the endpoint."""
        return "auc" if self.kind == "binary" else "c_index"

    @property
    def competing(self) -> bool:
        """Whether any patient had the competing event."""
        return bool((self.y["event"] == 2).any())

    def assessed(self, name: str, months: float | None = None) -> Flags:
        """Who has this score, and, if ``months`` is given, a probability at that time."""
        score = self.scores[name]
        known = np.isfinite(score.risk).all(axis=1)
        if months is not None:
            at = score.probability.get(months)
            known = known & np.isfinite(at).all(axis=1) if at is not None else np.zeros_like(known)
        return np.asarray(known, dtype=bool)

    def sample(self, rows: Flags) -> Resamples:
        """Some patients and their resamples: the same draws for all scores that have the same patients."""
        key = rows.tobytes()
        return _kept(
            self._samples, key, lambda: resamples(self.y[rows], draws=self.draws, seed=self.seed), _SAMPLES_KEPT
        )

    def at(self, rows: Flags, months: float) -> HorizonSample:
        """Labels of some patients at a horizon."""
        return self.sample(rows).at(months)

    def statistic(self, metric: str, rows: Flags, months: float | None = None) -> RankStatistic:
        """The rank statistic of that name among some patients."""
        y = self.y[rows]
        if metric == "c_index_uno":
            return uno(y, self.truncated_at)
        if metric == "c_index_competing":
            return competing_risks(y, self.truncated_at)
        if metric == "auc_horizon" and months is not None:
            return auc_at(y, months)
        return primary(y, self.kind, self.horizon)

    def marker(self, name: str, rows: Flags, months: float | None) -> Floats:
        """What ranks the patients: the probability at a horizon where the score has one, else the risk."""
        score = self.scores[name]
        at = None if months is None else score.probability.get(months)
        use_probability = at is not None and np.isfinite(at[rows]).all()
        return at[rows] if at is not None and use_probability else score.risk[rows]

    def rank(self, metric: str, name: str, rows: Flags, months: float | None = None, *, whole: bool = False) -> Floats:
        """Value of a rank statistic of a score on some patients, and in their resamples."""
        key = (metric, name, rows.tobytes(), months, whole)
        return _kept(self._values, key, lambda: self._rank(metric, name, rows, months, whole), None)

    def _rank(self, metric: str, name: str, rows: Flags, months: float | None, whole: bool) -> Floats:
        if not rows.any():
            return np.full(1 + self.draws, np.nan)
        risk, fold = self.marker(name, rows, months), self.fold[rows]
        if whole:
            risk, fold = risk[:, :1], np.zeros((len(fold), 1), dtype=np.int64)
        mates = _kept(self._pairs, ("mates", rows.tobytes(), whole), lambda: fold_mates(fold), _PAIRS_KEPT)
        same = (name, months if self.scores[name].probability else None, rows.tobytes(), whole)
        agreed = _kept(self._pairs, same, lambda: fold_agreement(risk, risk, fold), _PAIRS_KEPT)
        return rank_values(self.statistic(metric, rows, months), mates, agreed, self.sample(rows))

    def brier(self, name: str, rows: Flags, months: float) -> Floats:
        """Brier score of a score's probabilities on some patients, and in their resamples."""
        p = self.scores[name].probability[months][rows]
        key = ("brier", name, rows.tobytes(), months)
        return _kept(self._values, key, lambda: brier_values(self.at(rows, months), p), None)


def _kept(cache: dict[Hashable, _Value], key: Hashable, make: Callable[[], _Value], most: int | None) -> _Value:
    if key not in cache:
        while most is not None and len(cache) >= most:
            cache.pop(next(iter(cache)))
        cache[key] = make()
    return cache[key]


def followed_to(y: Outcome, months: float) -> bool:
    """Whether the incidence at a time can be known: somebody is followed to it, or the last to leave had an event."""
    if (y["months"] >= months).any():
        return True
    return y.size > 0 and not ((y["event"] == 0) & (y["months"] == y["months"].max())).any()


def count_events(y: Outcome, horizon: float | None) -> int:
    """Patients with the event, by the horizon where there is one."""
    return int((y["event"] == 1).sum() if horizon is None else horizon_labels(y, horizon)[0].sum())


def set_up_bench(
    predictions: pd.DataFrame, outcomes: pd.DataFrame, folds: pd.DataFrame, *, endpoint: str, horizon: float | None,
    kind: Kind, seed: int, draws: int, rules: pd.DataFrame | None, rule_models: pd.DataFrame | None,
    random_folds: bool,
) -> Bench:  # fmt: skip
    """Check and align the tables of a study; parameters as in :func:`summary.evaluate_endpoint`.

    Raises
    ------
    InputError
        For patients without a fold, incomplete or repeated predictions, predictions of other folds or patients, a model
        and a rule of the same name, a constant target.
    """
    patients = pd.Index(sorted(outcomes.loc[outcomes["endpoint"] == endpoint, "patient_id"]), dtype=object)
    y = outcome_of(outcomes, endpoint, list(patients))
    label_at = horizon if kind == "binary" else None
    check_outcome(y, horizon=label_at, min_events=1, where=endpoint)
    fold = _fold_matrix(folds, patients)
    parts = {
        "model": _fitted(predictions, endpoint, fold, "model"),
        "rule": {} if rules is None else _rule_scores(rules, patients, fold.shape[1]),
        "rule_model": {} if rule_models is None else _fitted(rule_models, endpoint, fold, "rule_model"),
    }
    names = [name for part in parts.values() for name in part]
    if clash := sorted({name for name in names if names.count(name) > 1}):
        raise InputError("a model and a rule have the same name", where=", ".join(clash))
    scores = {name: score for part in parts.values() for name, score in part.items()}
    judged_at = CALIBRATION_MONTHS if horizon is None else horizon
    several = random_folds and bool((fold.nunique() > 1).all())
    numbers = (judged_at, truncation(y), seed, draws)
    return Bench(endpoint, kind, label_at, y, fold.to_numpy(), scores, *numbers, random_folds=several)


def _fold_matrix(folds: pd.DataFrame, patients: pd.Index) -> pd.DataFrame:
    if folds.duplicated(["patient_id", "repeat"]).any():
        raise InputError("patients are in more than one fold of a repeat", where="folds")
    wide = folds.pivot(index="patient_id", columns="repeat", values="fold").reindex(patients)
    lacking = int(wide.isna().any(axis=1).sum())
    if lacking or wide.shape[1] == 0:
        raise InputError(f"{lacking} patients lack a fold", where="folds", expected="one fold per patient and repeat")
    return wide.astype(np.int64)


def _fitted(rows: pd.DataFrame, endpoint: str, fold: pd.DataFrame, role: Role) -> dict[str, Score]:
    own = rows.loc[rows["endpoint"] == endpoint]
    return {str(name): _fitted_score(part, fold, str(name), role) for name, part in own.groupby("model", sort=False)}


def _fitted_score(rows: pd.DataFrame, fold: pd.DataFrame, model: str, role: Role) -> Score:
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
    numbers = {name: part.to_numpy(dtype=float) for name, part in wide.items()}
    probability = {
        float(name.removeprefix("probability_").removesuffix("m")): values
        for name, values in numbers.items()
        if name.startswith("probability_") and not np.isnan(values).all()
    }
    return Score(numbers["risk"], role, probability)


def _rule_scores(rules: pd.DataFrame, patients: pd.Index, repeats: int) -> dict[str, Score]:
    if rules.index.has_duplicates:
        raise InputError("patients have more than one row of rule scores", where="rules")
    aligned = rules.reindex(patients)
    columns = {str(name): aligned[name].to_numpy(dtype=float, na_value=np.nan) for name in rules.columns}
    return {name: Score(np.repeat(values[:, None], repeats, axis=1), "rule") for name, values in columns.items()}
