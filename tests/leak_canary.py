"""Noise through the whole training: chance if nothing leaks, and far more with selection moved outside the folds.

Used by tests/property/test_leak_canary.py and benchmarks/self_tests.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from simulated_tables import draw_outcome, noise_table, number_columns

from radiomics_crlm.cohort.splits import draw_folds
from radiomics_crlm.errors import LeakError
from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.evaluation.ranking import primary, within_folds
from radiomics_crlm.evaluation.resampling import resamples
from radiomics_crlm.modelling import train
from radiomics_crlm.modelling.audit import FitAudit
from radiomics_crlm.modelling.recipe import Recipe

PATIENTS, COLUMNS, SEEDS = 100, 1000, 50
HORIZON = 24.0
CASES = (("ridge", "binary"), ("ridge", "time_to_event"), ("xgboost", "binary"), ("xgboost", "time_to_event"))
"""Learner and kind of endpoint: AUC at the horizon, or C."""


@dataclass(frozen=True)
class Canary:
    """AUC or C of each seed with selection inside the folds and outside, and how often the audit caught the latter."""

    learner: str
    kind: str
    inside: np.ndarray
    outside: np.ndarray
    caught: int

    @property
    def rise(self) -> float:
        """By how much the mean rises."""
        return float(self.outside.mean() - self.inside.mean())

    def line(self) -> str:
        """A row of the table."""
        name = "AUC at 24 months" if self.kind == "binary" else "Harrell's C"
        spread = self.inside.std(ddof=1)
        return (
            f"| {self.learner} | {name} | {self.inside.mean():.3f} | {spread:.3f} | {self.outside.mean():.3f} | "
            f"{self.rise:+.3f} | {self.caught} of {self.inside.size} |"
        )


def measure(
    learner: str, kind: str, *, seeds: Iterable[int] = range(SEEDS), n: int = PATIENTS, p: int = COLUMNS
) -> Canary:
    """The same noise with selection in its place and moved outside; the move once unseen and once under the audit."""
    inside, outside, caught = [], [], 0
    for seed in seeds:
        X, y = noise_table(n, p, seed), draw_outcome(np.zeros(n), seed)
        inside.append(discrimination(X, y, learner=learner, kind=kind, seed=seed))
        with selection_outside(X, y, audited=False):
            outside.append(discrimination(X, y, learner=learner, kind=kind, seed=seed))
        try:
            with selection_outside(X, y, audited=True):
                discrimination(X, y, learner=learner, kind=kind, seed=seed)
        except LeakError:
            caught += 1
    return Canary(learner, kind, np.array(inside), np.array(outside), caught)


def discrimination(X: pd.DataFrame, y: Outcome, *, learner: str, kind: str, seed: int) -> float:
    """Within-fold C or AUC of nested cross-validation on folds as a study draws them; ten inputs are selected."""
    recipe = Recipe(
        "noise", number_columns(X.shape[1]), learner, kind, select_k=10, rounds=(20, 50), depths=(1,),
        penalties=(1.0, 0.1),
    )  # fmt: skip
    status = pd.DataFrame({"e": y["event"].astype(str)}, index=X.index)
    folds = draw_folds(status, folds=5, repeats=1, seed=seed)
    horizon = HORIZON if kind == "binary" else None
    found = train.nested_cv(
        X, y, folds, recipe, endpoint="e", horizon=horizon, inner_folds=3, min_events=5, seed=seed
    )  # fmt: skip
    rows = found.predictions.set_index("patient_id").loc[X.index]
    risk, fold = (rows[name].to_numpy()[:, None] for name in ("risk", "fold"))
    return float(within_folds(primary(y, kind, horizon), risk, fold, resamples(y, draws=0, seed=0))[0])


@contextmanager
def selection_outside(X: pd.DataFrame, y: Outcome, *, audited: bool) -> Iterator[None]:
    """The classical mistake, by a switch of the tests: every fit of the steps before the learner sees all patients.

    With ``audited`` the audit of the fold watches the fit, as it does in every study; without, its effect is measured.
    """
    honest = train._fit_preprocessing
    fitted: list[Any] = []

    def on_everybody(
        rows: pd.DataFrame, _: Outcome, recipe: Recipe, at: float | None, audit: FitAudit, step: str
    ) -> Any:
        if not fitted:  # on the same patients every time
            fitted.append(honest(X, y, recipe, at, audit if audited else FitAudit(pd.Index([])), step)[0])
        return fitted[0], fitted[0].transform(rows)

    train._fit_preprocessing = on_everybody
    try:
        yield
    finally:
        train._fit_preprocessing = honest
