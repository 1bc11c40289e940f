"""Simulated cohorts: do conformal sets and lower bounds cover new patients as often as they say?

Each cohort is cross-validated, its thresholds are those that a bundle would hold, the model of all patients predicts
new ones whose outcome is known without censoring, and the columns of a score say what is to be expected of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.boosted import XGBoostCox, XGBoostLogistic
from radiomics_crlm.modelling.forest import ForestIncidence
from radiomics_crlm.modelling.linear import RidgeCox, RidgeLogistic
from radiomics_crlm.scoring.intervals import EVENT_FREE, interval_columns
from radiomics_crlm.study.uncertainty import uncertainty_of

COHORTS, PATIENTS, NEW, FOLDS = 200, 200, 1000, 5
INPUTS, HAZARD, OTHER_HAZARD = 5, 0.03, 0.012
MONTHS, HORIZON = (12, 24, 36), 24


@dataclass(frozen=True)
class Case:
    """A learner, and what else happens to its patients."""

    title: str
    learner: Callable[[], Any]
    binary: bool
    censored: bool
    competing: bool

    @property
    def months(self) -> tuple[int, ...]:
        return (HORIZON,) if self.binary else MONTHS


CASES = (
    Case("ridge logistic", lambda: RidgeLogistic(HORIZON), True, False, False),
    Case("ridge logistic", lambda: RidgeLogistic(HORIZON), True, True, True),
    Case("boosted trees, logistic", lambda: XGBoostLogistic(HORIZON), True, True, True),
    Case("ridge Cox", RidgeCox, False, True, False),
    Case("ridge Cox", RidgeCox, False, True, True),
    Case("boosted trees, Cox", XGBoostCox, False, True, True),
    Case("random forest", lambda: ForestIncidence(trees=50), False, True, True),
)


@dataclass(frozen=True)
class Covered:
    """Coverage in new patients over cohorts (mean, and standard deviation between cohorts), and how much is said."""

    case: Case
    what: str
    mean: float
    deviation: float
    told: str

    def line(self) -> str:
        """A row of the table."""
        words = ("censored" if self.case.censored else "", "competing event" if self.case.competing else "")
        data = ", ".join(word for word in words if word) or "complete"
        return (
            f"| {self.case.title} | {data} | {self.what} | {100 * self.mean:.1f} % | {100 * self.deviation:.1f} "
            f"| {self.told} |"
        )


def patients(n: int, generator: np.random.Generator, case: Case, *, censored: bool) -> tuple[np.ndarray, Outcome]:
    """Inputs and outcomes of n patients; those who never have the event leave after 1,000 months."""
    X = generator.normal(size=(n, INPUTS))
    risk = X @ np.array([0.8, 0.5, -0.4, 0.0, 0.0])
    event = generator.exponential(1 / (HAZARD * np.exp(risk)))
    death = generator.exponential(1 / OTHER_HAZARD, n) if case.competing else np.full(n, np.inf)
    leaving = generator.uniform(6, 80, n) if censored else np.full(n, 1000.0)
    months = np.minimum(np.minimum(event, death), leaving)
    return X, make_outcome(np.where(months == event, 1, np.where(months == death, 2, 0)), months)


def study(case: Case, seed: int) -> dict[str, tuple[float, float]]:
    """Coverage of one cohort's sets and bound in new patients, with the share of telling sets or the median bound."""
    generator = np.random.default_rng((seed, 7))
    X, y = patients(PATIENTS, generator, case, censored=case.censored)
    fold = generator.permutation(PATIENTS) % FOLDS
    unseen = np.full((PATIENTS, len(case.months)), np.nan)
    for k in range(FOLDS):
        unseen[fold == k] = case.learner().fit(X[fold != k], y[fold != k]).probability(X[fold == k], case.months)
    final = case.learner().fit(X, y)
    new, truth = patients(NEW, generator, case, censored=False)
    probability = final.probability(new, case.months)
    columns = _score(case, y, unseen, probability)
    found = {}
    for month in case.months:
        word = np.where((truth["event"] == 1) & (truth["months"] <= month), "event", "no_event")
        sets = columns[f"outcome_{month}m"]
        held = (sets == word) | (sets == "either")
        found[f"set at {month} months"] = (
            float(held.mean()),
            float((sets == "event").mean() + (sets == "no_event").mean()),
        )
    if not case.binary:
        time = np.where(truth["event"] == 1, truth["months"], np.inf)
        found["lower bound"] = float((time >= columns[EVENT_FREE]).mean()), float(np.median(columns[EVENT_FREE]))
    return found


def _score(case: Case, y: Outcome, unseen: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    endpoint = load_endpoints()["recurrence_24m" if case.binary else "recurrence"]
    keys = [f"P{i}" for i in range(len(y))]
    predictions = pd.DataFrame({"patient_id": keys, "repeat": 0})
    predictions = predictions.assign(**{f"probability_{m}m": unseen[:, k] for k, m in enumerate(case.months)})
    outcome = pd.DataFrame({"patient_id": keys, "event": y["event"], "months": y["months"]})
    known, _ = uncertainty_of(predictions, outcome, pd.DataFrame(), endpoint, case.months)
    content: Any = SimpleNamespace(uncertainty=known, horizons=case.months, definition=endpoint)
    model: Any = None
    return interval_columns(content, model, pd.DataFrame(), probability[:, 0], probability, case.months)


def coverage(case: Case, cohorts: int = COHORTS, first: int = 0) -> list[Covered]:
    """Mean coverage over simulated cohorts."""
    found = [study(case, seed) for seed in range(first, first + cohorts)]
    rows = []
    for what in found[0]:
        values = np.array([one[what] for one in found])
        mean = float(values[:, 1].mean())
        told = f"median {mean:.1f} months" if what == "lower bound" else f"{100 * mean:.0f} % name one outcome"
        rows.append(Covered(case, what, float(values[:, 0].mean()), float(values[:, 0].std()), told))
    return rows


_HEAD = """
## Conformal prediction, 90 %

{cohorts} simulated cohorts of {patients} patients per row (`tests/conformal_studies.py`): thresholds from five-fold
cross-validation, the model of all patients, {new:,} new patients whose outcome is known. Mean coverage must lie in 87
to 93 %. It varies between cohorts (standard deviation in points): the promise is one of the method, not of each cohort.
A set that names one outcome tells something, "either" does not; the more a model knows, the more sets do.

| learner | outcomes | what | mean coverage | SD | it says |
|---|---|---|---|---|---|"""


def section(cases: Sequence[Case] = CASES) -> None:
    """Print the section of the self-tests."""
    lines = [_HEAD.format(cohorts=COHORTS, patients=PATIENTS, new=NEW)]
    lines += [row.line() for case in cases for row in coverage(case)]
    print("\n".join(lines))  # noqa: T201 - the page
