"""Repeated nested cross-validation: ours against the same design written plainly with scikit-learn.

The design is that of the clinical TCIA experiment (repeated 5-fold outer, 5 inner folds, 13 clinical columns).
Plainly is ``GridSearchCV`` over a ``Pipeline`` inside ``cross_validate``: the same preprocessing, learners,
candidates, folds and choice among candidates, so the mean scores of both must agree. With scikit-survival or
lifelines the learner is theirs, too. Without the data a table of the same shape is simulated.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from measuring import Absent, Comparison, Entry, Given, Timed, apart, named, timed
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.evaluation.discrimination import agreement, concordance, endpoint_pairs
from radiomics_crlm.evaluation.outcome import Outcome, make_outcome
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.inner_folds import draw_inner_folds, stratum
from radiomics_crlm.modelling.recipe import Recipe, candidates, preprocessing
from radiomics_crlm.modelling.train import most_conservative_best, nested_cv
from radiomics_crlm.resources import resource
from radiomics_crlm.study.plans import plan_models
from radiomics_crlm.study.prepare import prepare

LEARNERS = ("ridge", "elastic_net", "xgboost", "random_forest")
NOT_TIMED = {
    "AutoPrognosis, WORC, AutoRadiomics": "other designs: they search other pipelines, so no value can be compared",
    "familiar": "an R package",
}
SEED, INNER = 20261121, 5
ENDPOINTS = ("recurrence_24m", "recurrence")


@dataclass(frozen=True)
class Task:
    """One endpoint: what all learners get."""

    name: str
    X: pd.DataFrame
    y: Outcome
    columns: tuple[ColumnSpec, ...]
    kind: str
    horizon: float | None
    folds: pd.DataFrame

    def splits(self) -> list[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
        """(repeat, fold), training rows and test rows of each outer fold."""
        wide = self.folds.pivot(index="patient_id", columns="repeat", values="fold").loc[self.X.index]
        return [
            ((int(repeat), int(fold)), np.flatnonzero(wide[repeat] != fold), np.flatnonzero(wide[repeat] == fold))
            for repeat in wide.columns
            for fold in np.unique(wide[repeat])
        ]


def real_tasks(data: Path, endpoints: Sequence[str], repeats: int) -> list[Task]:
    """The clinical feature set of the shipped experiment."""
    file = resource("experiments/tcia_crlm_clinical.yaml")
    experiment = load_config(ExperimentConfig, Path(str(file)))
    experiment = experiment.model_copy(update={"endpoints": tuple(endpoints), "learners": ("ridge",), "deliver": {}})
    with tempfile.TemporaryDirectory() as out:
        prepared = prepare(experiment, data=data, out=Path(out), jobs=1, progress=lambda *_: None)
    tasks = []
    for plan in plan_models(experiment, prepared, allow_leak=False):
        if plan.name != "clinical/ridge":
            continue
        table, endpoint = plan.predictors.table, prepared.endpoints[plan.endpoint]
        outcome = prepared.outcomes[plan.endpoint].set_index("patient_id").loc[table.index]
        known = prepared.folds["patient_id"].isin(table.index) & (prepared.folds["repeat"] < repeats)
        y = make_outcome(outcome["event"], outcome["months"])
        folds, horizon = prepared.folds[known], endpoint.horizon_months
        tasks.append(Task(plan.endpoint, table, y, plan.recipe.columns, endpoint.kind, horizon, folds))
    return tasks


def simulated_tasks(endpoints: Sequence[str], repeats: int, *, outer: int = 5) -> list[Task]:
    """197 patients with seven numbers, four booleans and two categories, some cells missing."""
    rng = np.random.default_rng(SEED)
    n, numbers, sites = 197, [f"x{i}" for i in range(7)], ("left", "right", "rectum")
    X = pd.DataFrame(rng.normal(size=(n, 7)), columns=numbers, index=[f"P{i:03d}" for i in range(n)])
    for name in ("b0", "b1", "b2", "b3"):
        X[name] = pd.array(rng.random(n) < 0.4, dtype="boolean")
    X["site"], X["sex"] = rng.choice(sites, n), rng.choice(["female", "male"], n)
    linear = 0.6 * X["x0"] - 0.4 * X["x1"]
    X = X.mask(rng.random(X.shape) < 0.05)
    event, death = rng.exponential(30 * np.exp(-linear)), rng.exponential(150, n)
    seen = rng.uniform(6, 100, n)
    months = np.minimum(np.minimum(event, death), seen)
    y = make_outcome(np.select([months == event, months == death], [1, 2], 0), months)
    columns = (
        *(ColumnSpec(name) for name in numbers),
        *(ColumnSpec(name, "boolean") for name in ("b0", "b1", "b2", "b3")),
        ColumnSpec("site", "category", sites),
        ColumnSpec("sex", "category", ("female", "male")),
    )
    deals = [rng.permutation(np.arange(n) % outer) for _ in range(repeats)]
    folds = pd.concat(
        [pd.DataFrame({"patient_id": X.index, "repeat": r, "fold": deal}) for r, deal in enumerate(deals)]
    )
    horizons = {name: 24.0 if name.endswith("24m") else None for name in endpoints}
    return [
        Task(name, X, y, columns, "time_to_event" if h is None else "binary", h, folds) for name, h in horizons.items()
    ]


def ours(task: Task, recipe: Recipe, jobs: int) -> list[float]:
    """Concordance of each outer fold."""
    result = nested_cv(
        task.X, task.y, task.folds, recipe, endpoint=task.name, horizon=task.horizon, inner_folds=INNER, seed=SEED,
        jobs=jobs,
    )  # fmt: skip
    scores = []
    for _, part in result.predictions.groupby(["repeat", "fold"]):
        y = task.y[task.X.index.get_indexer(part["patient_id"])]
        scores.append(concordance(endpoint_pairs(y, recipe.kind, task.horizon), part["risk"]))
    return scores


class SameInnerFolds:
    """Inner folds as :func:`nested_cv` draws them, found by the patients of the outer training fold."""

    def __init__(self, task: Task) -> None:
        self.known = {
            tuple(task.X.index[train]): draw_inner_folds(
                stratum(task.y[train], task.horizon), INNER, np.random.default_rng((SEED, *key))
            )
            for key, train, _ in task.splits()
        }

    def split(self, X: pd.DataFrame, *_: Any, **__: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training and test rows."""
        assigned = self.known[tuple(X.index)]
        for fold in np.unique(assigned):
            yield np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)

    def get_n_splits(self, *_: Any, **__: Any) -> int:
        """Number of inner folds."""
        return INNER


class PlainSearch(GridSearchCV):
    """Grid search whose score is the concordance over all inner folds together, weighted in the outer training fold."""

    def fit(self, X: pd.DataFrame, y: Outcome, **parameters: Any) -> Self:
        """Search and refit."""
        learner = self.estimator[-1]
        horizon = getattr(learner, "horizon", None)
        pairs = endpoint_pairs(y, "time_to_event" if horizon is None else "binary", horizon)
        self.scoring = partial(pair_counts, pairs, X.index)
        return super().fit(X, y, **parameters)


def pair_counts(
    pairs: np.ndarray, patients: pd.Index, estimator: Pipeline, X: pd.DataFrame, _: Any
) -> dict[str, float]:
    """Weight of the concordant pairs of test patients, and of all their pairs."""
    rows = patients.get_indexer(X.index)
    weight = pairs[np.ix_(rows, rows)]
    return {"agreed": float((weight * agreement(estimator.predict(X))).sum()), "total": float(weight.sum())}


def best_candidate(results: dict[str, Any]) -> int:
    """The first of the best."""
    agreed, total = (
        np.sum([results[f"split{fold}_test_{name}"] for fold in range(INNER)], axis=0) for name in ("agreed", "total")
    )
    return most_conservative_best(agreed / total)


def fold_score(kind: str, horizon: float | None, estimator: Any, X: pd.DataFrame, y: Outcome) -> float:
    """Concordance of one outer fold."""
    return concordance(endpoint_pairs(y, kind, horizon), estimator.predict(X))


class ScikitSurvivalRidge(BaseEstimator):
    """The Cox model of scikit-survival with our scale of the penalty."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def fit(self, X: Any, y: Outcome) -> Self:
        """Fit."""
        self.fitted_ = CoxPHSurvivalAnalysis(alpha=self.penalty * len(y), ties="efron")
        self.fitted_.fit(np.asarray(X), Surv.from_arrays(y["event"] == 1, y["months"]))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Risk."""
        return np.asarray(self.fitted_.predict(np.asarray(X)))


class LifelinesRidge(BaseEstimator):
    """The Cox model of lifelines with our scale of the penalty; it penalises coefficients of standardised columns."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def fit(self, X: Any, y: Outcome) -> Self:
        """Fit; constant columns are left out."""
        columns = pd.DataFrame(np.asarray(X)).add_prefix("x")
        spread = columns.std()
        self.columns_ = spread.index[spread > 0]
        table = columns[self.columns_].assign(time=y["months"], event=(y["event"] == 1).astype(int))
        self.fitted_ = CoxPHFitter(penalizer=(self.penalty / spread[self.columns_] ** 2).to_numpy(), l1_ratio=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.fitted_.fit(table, "time", "event")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Risk."""
        columns = pd.DataFrame(np.asarray(X)).add_prefix("x")[self.columns_]
        return np.asarray(columns.to_numpy() @ self.fitted_.params_.to_numpy())


def plainly(task: Task, recipe: Recipe, jobs: int, learner: BaseEstimator | None = None) -> list[float]:
    """Concordance of each outer fold; ``learner`` takes the place of ours."""
    choices = candidates(recipe, task.horizon)
    names = list(recipe.space())
    grid = [{f"learner__{name}": [choice.get_params()[name]] for name in names} for choice in choices]
    pipeline = Pipeline([*preprocessing(recipe, task.horizon).steps, ("learner", learner or choices[0])])
    search = PlainSearch(
        pipeline, grid, scoring=None, cv=SameInnerFolds(task), refit=best_candidate, error_score="raise"
    )
    found = cross_validate(
        search, task.X, task.y, cv=[(train, test) for _, train, test in task.splits()], n_jobs=jobs,
        scoring=partial(fold_score, recipe.kind, task.horizon), error_score="raise",
    )  # fmt: skip
    return list(found["test_score"])


def with_workers(way: Callable[..., list[float]], task: Task, recipe: Recipe, jobs: int) -> Timed:
    """Scores of the outer folds, timed after the workers have started: each way stops those of the other."""
    way(task, Recipe("clinical", task.columns, "xgboost", task.kind, seed=SEED, rounds=(2, 3), depths=(1,)), jobs)
    return timed(partial(way, task, recipe, jobs))


def mean_scores_apart(first: list[float], second: list[float]) -> float:
    """Relative difference of the mean scores."""
    return apart(float(np.mean(first)), float(np.mean(second)))


def entries(given: Given) -> Iterator[Entry]:
    """Each endpoint and learner; the Cox model also with the learners of others, in one process."""
    found, repeats = given.data.is_dir(), 1
    make = partial(real_tasks, given.data) if found else simulated_tasks
    for task in make(ENDPOINTS[1:] if given.quick else ENDPOINTS, repeats):
        who = f"{'TCIA' if found else 'simulated'} table, {len(task.X)} patients, {repeats} × 5 × {INNER} folds"
        for learner in LEARNERS[:1] if given.quick else LEARNERS:
            recipe = Recipe("clinical", task.columns, learner, task.kind, seed=SEED)
            count = len(candidates(recipe, task.horizon))
            yield Comparison(
                "training", f"{who}, {task.name}, {learner}, {count} candidates, {given.jobs} processes",
                f"loop of {named('scikit-learn')}", partial(with_workers, ours, task, recipe, given.jobs),
                partial(with_workers, plainly, task, recipe, given.jobs), mean_scores_apart, 1e-6, warm=False,
                repeats=3, patience=20.0,
            )  # fmt: skip
    yield from _other_learners(task, who, given.quick)
    yield from (Absent("training", name, reason) for name, reason in NOT_TIMED.items())


def _other_learners(task: Task, who: str, quick: bool) -> Iterator[Entry]:
    recipe = Recipe("clinical", task.columns, "ridge", task.kind, seed=SEED)
    others = ((ScikitSurvivalRidge(), "scikit-survival"), (LifelinesRidge(), "lifelines"))
    for learner, peer in others[:1] if quick else others:
        yield Comparison(
            "training", f"{who}, {task.name}, ridge Cox, {len(recipe.penalties)} candidates, 1 process",
            f"loop of {named('scikit-learn', peer)}", partial(ours, task, recipe, 1),
            partial(plainly, task, recipe, 1, learner), mean_scores_apart, 1e-6, warm=False,
            repeats=3, least=1, patience=10.0,
        )  # fmt: skip
