"""Simulated studies with known truth: how often do the intervals of the evaluation cover it?

A study with a fixed score asks whether the bootstrap over patients is right. A study with cross-validated models asks
for the expected performance of models that are trained on as many patients: there the bootstrap, which holds the models
fixed, may be too narrow, and the corrected resampled t interval is meant to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.evaluation.calibration import calibration_line
from radiomics_crlm.evaluation.comparison import paired_difference
from radiomics_crlm.evaluation.fold_intervals import fold_scores, nadeau_bengio
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.evaluation.permutation import permutation_p, rank_gains
from radiomics_crlm.evaluation.ranking import (
    RankStatistic,
    auc_at,
    competing_risks,
    harrell,
    uno,
    whole_sample,
    within_folds,
)
from radiomics_crlm.evaluation.resampling import Estimate, Resamples, estimate_of, resamples
from radiomics_crlm.evaluation.smooth_calibration import CURVE_DRAWS, smooth_calibration
from radiomics_crlm.evaluation.survival_scores import brier_values, expected_values

HORIZON, TRUNCATION = 24.0, 36.0
HAZARD, OTHER_HAZARD = 0.03, 0.006
STUDIES, DRAWS = 500, 1000


@dataclass(frozen=True)
class Coverage:
    """What a set of simulated studies found of one quantity."""

    name: str
    truth: float
    mean: float
    width: float
    covered: float

    def line(self) -> str:
        """A row of the table."""
        return f"| {self.name} | {self.truth:.3f} | {self.mean:.3f} | {self.width:.3f} | {100 * self.covered:.1f} % |"


def summarise(name: str, truth: float, found: list[Estimate]) -> Coverage:
    """Mean estimate, mean width of the intervals, and the share that holds the truth."""
    values = np.array([(e.value, e.lower, e.upper) for e in found])
    covered = (values[:, 1] <= truth) & (truth <= values[:, 2])
    return Coverage(
        name, truth, float(values[:, 0].mean()), float((values[:, 2] - values[:, 1]).mean()), float(covered.mean())
    )


# --- a fixed score, censored outcomes with a competing event ---------------------------------------------------------


@dataclass(frozen=True)
class Cohort:
    """Outcomes, a score with its probability at the horizon, and a second, noisier score."""

    y: Outcome
    risk: np.ndarray
    rival: np.ndarray
    probability: np.ndarray


def cohort(n: int, generator: np.random.Generator, *, censored: bool = True) -> Cohort:
    """Exponential times; the probability at the horizon is the true one of a patient, made too large on purpose."""
    x = generator.normal(size=n)
    event, death = generator.exponential(1 / (HAZARD * np.exp(0.8 * x))), generator.exponential(1 / OTHER_HAZARD, n)
    leaving = generator.uniform(6, 80, n) if censored else np.full(n, np.inf)
    months = np.minimum(np.minimum(event, death), leaving)
    y = make_outcome(np.where(months == event, 1, np.where(months == death, 2, 0)), months)
    return Cohort(y, x, x + generator.normal(size=n), np.minimum(1.2 * true_probability(x), 1.0))


def true_probability(x: np.ndarray) -> np.ndarray:
    """Probability of the event by the horizon with the other event competing."""
    hazard = HAZARD * np.exp(0.8 * x)
    both = hazard + OTHER_HAZARD
    return hazard / both * -np.expm1(-both * HORIZON)


STATISTICS: dict[str, Callable[[Outcome], RankStatistic]] = {
    "AUC at 24 months": lambda y: auc_at(y, HORIZON),
    "Uno's C to 36 months": lambda y: uno(y, TRUNCATION),
    "C for competing risks to 36 months": lambda y: competing_risks(y, TRUNCATION),
    "Harrell's C": harrell,
}
SCORES: dict[str, Callable[..., np.ndarray]] = {
    "Observed / expected at 24 months": expected_values,
    "Brier score at 24 months": brier_values,
}


def true_values(samples: int = 400) -> dict[str, float]:
    """By many large samples: without censoring, except for Harrell's C, which depends on it."""
    generator = np.random.default_rng(1)
    found: dict[str, list[float]] = {}
    for _ in range(samples):
        full, partly = cohort(1000, generator, censored=False), cohort(1000, generator)
        for name, statistic in STATISTICS.items():
            data = partly if name == "Harrell's C" else full
            found.setdefault(name, []).append(whole_sample(statistic(data.y), data.y, data.risk))
        difference = [whole_sample(auc_at(full.y, HORIZON), full.y, score) for score in (full.risk, full.rival)]
        found.setdefault("difference", []).append(difference[0] - difference[1])
    large = cohort(5000 * samples, generator, censored=False)
    sample = resamples(large.y, draws=0, seed=0).at(HORIZON)
    scores = {name: float(values(sample, large.probability[:, None])[0]) for name, values in SCORES.items()}
    return {name: float(np.mean(values)) for name, values in found.items()} | scores


def fixed_score(n: int = 150, studies: int = STUDIES, samples: int = 400) -> list[Coverage]:
    """Bootstrap intervals of a fixed score in cohorts of n patients."""
    truth = true_values(samples)
    found: dict[str, list[Estimate]] = {name: [] for name in [*STATISTICS, *SCORES, "difference"]}
    for study in range(studies):
        data = cohort(n, np.random.default_rng([2, study]))
        sample, one = resamples(data.y, draws=DRAWS, seed=study), np.zeros((n, 1), dtype=int)
        for name, statistic in STATISTICS.items():
            found[name].append(estimate_of(within_folds(statistic(data.y), data.risk[:, None], one, sample)))
        for name, values in SCORES.items():
            found[name].append(estimate_of(values(sample.at(HORIZON), data.probability[:, None])))
        auc = auc_at(data.y, HORIZON)
        a, b = (within_folds(auc, score[:, None], one, sample) for score in (data.risk, data.rival))
        found["difference"].append(paired_difference(float(a[0] - b[0]), a[1:], b[1:])[0])
    return [
        summarise("Difference of two AUCs" if name == "difference" else name, truth[name], values)
        for name, values in found.items()
    ]


def calibration_distance(n: int = 150, studies: int = STUDIES) -> list[Coverage]:
    """ICI of true probabilities, and of probabilities that are too large by a known rule: hazards times 1.35."""
    cases = {"ICI at 24 months, perfect model": 1.0, "ICI at 24 months, hazards too large by 35 %": 1.35}
    found: dict[str, list[Estimate]] = {name: [] for name in cases}
    for study in range(studies):
        data = cohort(n, np.random.default_rng([4, study]))
        sample, true = resamples(data.y, draws=CURVE_DRAWS, seed=study).at(HORIZON), true_probability(data.risk)
        for name, power in cases.items():
            found[name].append(smooth_calibration(sample, (1 - (1 - true) ** power)[:, None]).ici)
    large = true_probability(np.random.default_rng(8).normal(size=1_000_000))
    return [
        summarise(name, float(np.abs(1 - (1 - large) ** power - large).mean()), found[name])
        for name, power in cases.items()
    ]


def rejections(n: int = 100, studies: int = STUDIES) -> tuple[float, float]:
    """Share of p < 0.05 of permutation and bootstrap for two scores that are equally good (exchangeable noise)."""
    small = np.zeros((studies, 2), dtype=bool)
    for study in range(studies):
        generator = np.random.default_rng([3, study])
        data, one = cohort(n, generator), np.zeros((n, 1), dtype=int)
        first, second = (data.risk[:, None] + generator.normal(size=(n, 1)) for _ in range(2))
        sample, statistic = resamples(data.y, draws=DRAWS, seed=study), harrell(data.y)
        permuted = permutation_p(rank_gains(statistic, first, second, one, sample), draws=DRAWS, seed=study)
        a, b = (within_folds(statistic, score, one, sample) for score in (first, second))
        small[study] = permuted < 0.05, paired_difference(float(a[0] - b[0]), a[1:], b[1:])[1] < 0.05
    return float(small[:, 0].mean()), float(small[:, 1].mean())


# --- models that are fitted in cross-validation ----------------------------------------------------------------------

COLUMNS, EFFECT = 6, 0.9


def table(n: int, generator: np.random.Generator, *, binary: bool) -> tuple[np.ndarray, Outcome]:
    """Columns of which one matters; a label known for all, or a censored time."""
    X = generator.normal(size=(n, COLUMNS))
    if binary:
        event = generator.random(n) < 1 / (1 + np.exp(-EFFECT * X[:, 0]))
        return X, make_outcome(event, np.where(event, 6.0, 60.0))
    time, leaving = generator.exponential(30 * np.exp(-EFFECT * X[:, 0])), generator.uniform(6, 80, n)
    return X, make_outcome(time <= leaving, np.minimum(time, leaving))


def fit(X: np.ndarray, y: Outcome) -> np.ndarray:
    """Coefficients of a quick learner: least squares of the martingale residual, one step of Cox regression from 0."""
    order = np.argsort(y["months"], kind="stable")
    event = (y["event"][order] == 1).astype(float)
    hazard = np.empty(len(X))
    hazard[order] = np.cumsum(event / np.arange(len(X), 0, -1))
    residual = (y["event"] == 1) - hazard
    return np.linalg.lstsq(np.column_stack((np.ones(len(X)), X)), residual, rcond=None)[0][1:]


def statistic_of(y: Outcome, *, binary: bool) -> RankStatistic:
    """AUC of the label, or Harrell's C."""
    return auc_at(y, HORIZON) if binary else harrell(y)


def expected_performance(n_train: int, *, binary: bool, models: int = 400) -> float:
    """Mean performance of models trained on so many patients, each in a large test sample of its own."""
    generator = np.random.default_rng([5, int(binary)])
    found = []
    for _ in range(models):
        coefficients = fit(*table(n_train, generator, binary=binary))
        X, y = table(1000, generator, binary=binary)
        found.append(whole_sample(statistic_of(y, binary=binary), y, X @ coefficients))
    return float(np.mean(found))


def out_of_fold(X: np.ndarray, y: Outcome, generator: np.random.Generator, *, folds: int, repeats: int) -> Iterator:
    """Risks and folds of repeated cross-validation, one repeat at a time."""
    for _ in range(repeats):
        fold = generator.permutation(np.arange(len(X)) % folds)
        risk = np.empty(len(X))
        for number in range(folds):
            test = fold == number
            risk[test] = X[test] @ fit(X[~test], y[~test])
        yield risk, fold


def cross_validated(
    *, binary: bool, n: int = 200, folds: int = 5, repeats: int = 10, studies: int = STUDIES
) -> list[Coverage]:
    """Both intervals of repeated cross-validation against the expected performance of the models."""
    truth = expected_performance(n * (folds - 1) // folds, binary=binary)
    corrected, plain = [], []
    for study in range(studies):
        generator = np.random.default_rng([6, int(binary), study])
        X, y = table(n, generator, binary=binary)
        parts = list(out_of_fold(X, y, generator, folds=folds, repeats=repeats))
        risk, fold = (np.column_stack(columns) for columns in zip(*parts, strict=True))
        sample: Resamples = resamples(y, draws=DRAWS, seed=study)
        statistic = statistic_of(y, binary=binary)
        corrected.append(nadeau_bengio(fold_scores(statistic, risk, fold, sample), lowest=0, highest=1)[0])
        plain.append(estimate_of(within_folds(statistic, risk, fold, sample)))
    name = "AUC" if binary else "C"
    return [
        summarise(f"{name}, cross-validated: mean of folds, Nadeau-Bengio", truth, corrected),
        summarise(f"{name}, cross-validated: within folds, bootstrap", truth, plain),
    ]


# --- calibration slopes ----------------------------------------------------------------------------------------------


def recovered_slope(slope: float, n: int = 5000, studies: int = 100) -> tuple[float, float, float]:
    """Mean and spread of the estimated slope, and coverage, where predictions have the known slope; a third censored.

    The true probability has the logit x; predictions have x / slope.
    """
    found = []
    for study in range(studies):
        generator = np.random.default_rng([7, study])
        x = generator.normal(scale=1.2, size=n)
        event = generator.random(n) < 1 / (1 + np.exp(-x))
        time = np.where(event, generator.uniform(0, HORIZON, n), 80.0)
        leaving = generator.uniform(0, 70, n)
        y = make_outcome(time <= leaving, np.minimum(time, leaving))
        found.append(calibration_line(y, 1 / (1 + np.exp(-x / slope)), HORIZON)[0])
    coverage = summarise("", slope, found)
    return coverage.mean, float(np.std([e.value for e in found], ddof=1)), coverage.covered
