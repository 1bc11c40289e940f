"""Nested cross-validation and the final fit. Everything that learns is refit inside each training fold.

Inner folds choose among the recipe's candidates by within-fold concordance, the outer test fold is only predicted.
The result depends on the data and the seed alone, not on the number of jobs or threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.evaluation.discrimination import agreement, endpoint_pairs
from radiomics_crlm.evaluation.outcome import Floats, Outcome, check_outcome
from radiomics_crlm.modelling.audit import FitAudit
from radiomics_crlm.modelling.checks import (
    align_outcome,
    check_events,
    check_scans,
    check_sites,
    check_table,
    fold_matrix,
)
from radiomics_crlm.modelling.code_version import learner_code
from radiomics_crlm.modelling.estimators import Learner, risks_of_candidates
from radiomics_crlm.modelling.inner_folds import Ints, folds_of_patients, stratum
from radiomics_crlm.modelling.operating import judge_thresholds, operate
from radiomics_crlm.modelling.outer import CvDesign, CvResult, FoldResult, FoldTask
from radiomics_crlm.modelling.recipe import Recipe, candidates, informed, learner_with, preprocessing
from radiomics_crlm.modelling.risk import REPORT_MONTHS
from radiomics_crlm.modelling.tuning import search
from radiomics_crlm.parallel import Lost, run

Progress = Callable[[int, int], None]


def nested_cv(
    X: pd.DataFrame, y: Outcome | pd.DataFrame, folds: pd.DataFrame, recipe: Recipe, *,
    endpoint: str, horizon: float | None, inner_folds: int, seed: int, min_events: int = 10,
    jobs: int = 1, on_progress: Progress | None = None, forward: bool = False,
) -> CvResult:  # fmt: skip
    """Out-of-fold predictions of a recipe by repeated nested cross-validation.

    Parameters
    ----------
    X
        Predictors, one row per patient, indexed by patient.
    y
        Outcomes: an array in the order of ``X``, or a table ``event, months`` indexed by patient.
    folds
        ``patient_id, repeat, fold``; exactly the patients of ``X``.
    recipe
        What to fit.
    endpoint
        Name of the endpoint, for the tables.
    horizon
        Months; needed by a binary recipe, ignored otherwise.
    inner_folds
        Inner folds for tuning, >= 2.
    seed
        Seed of the inner folds.
    min_events
        Smallest admissible number of events in any outer training fold.
    jobs
        Processes over outer folds; without influence on the result.
    on_progress
        Called with (outer folds done, outer folds in all).
    forward
        Folds are blocks of time: each is predicted by a model of the earlier ones, and the first is not predicted.

    Raises
    ------
    InputError
        Before the first fit: patients that differ or are repeated, unreadable or infinite values, a constant
        target, too few events, a test fold without an event.
    LeakError
        If a fit would see a patient of its outer test fold.
    """
    design = cv_design(
        X, y, folds, recipe, endpoint=endpoint, horizon=horizon, inner_folds=inner_folds, seed=seed,
        min_events=min_events, forward=forward,
    )  # fmt: skip
    tasks, done = design.tasks(), 0

    def count(_: int, __: FoldResult) -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(tasks))

    return design.collect(fit_folds(tasks, jobs=jobs, on_done=count))


def cv_design(
    X: pd.DataFrame, y: Outcome | pd.DataFrame, folds: pd.DataFrame, recipe: Recipe, *,
    endpoint: str, horizon: float | None, inner_folds: int, seed: int, min_events: int = 10, forward: bool = False,
) -> CvDesign:  # fmt: skip
    """Check a model and its outer folds, without fitting anything (parameters and refusals of :func:`nested_cv`)."""
    at = horizon if recipe.kind == "binary" else None
    outcome = _check_request(X, y, recipe, at, inner_folds)
    wide = fold_matrix(folds, X.index)
    place = f"{endpoint}, {recipe.name}"
    check_events(
        outcome, wide, kind=recipe.kind, horizon=at, min_events=min_events, where=place, forward=forward
    )  # fmt: skip
    check_sites(wide, recipe, where=place, forward=forward)
    check_scans(X, wide, recipe, where=place, forward=forward)
    table = X[[column.name for column in recipe.columns]]
    return CvDesign(table, outcome, wide, recipe, endpoint, at, inner_folds, seed, forward)


def fit_folds(
    tasks: Sequence[FoldTask],
    *,
    jobs: int = 1,
    dask: str | None = None,
    on_done: Callable[[int, FoldResult], None] | None = None,
) -> list[FoldResult]:
    """Do outer folds, of one model or of many, and return what they give in the order of the tasks.

    Parameters
    ----------
    tasks
        Of :meth:`CvDesign.tasks`.
    jobs, dask
        Processes on this machine, or address of a Dask scheduler; without influence on the result.
    on_done
        Called with the number of a task (from 0) and what it gave, as soon as it is done.

    Raises
    ------
    CrlmError
        If workers died again and again over a task; after all others are done.
    ConfigError
        As `radiomics_crlm.parallel.run`, or if workers of a cluster have other code or libraries.
    """
    if dask is not None:
        code = learner_code()
        tasks = [replace(task, code=code) for task in tasks]

    def tell(number: int, result: FoldResult | Lost) -> None:
        if on_done is not None and not isinstance(result, Lost):
            on_done(number, result)

    found, lost = [], []
    for task, result in zip(tasks, run(_outer_fold, tasks, jobs=jobs, dask=dask, on_done=tell), strict=True):
        if isinstance(result, Lost):
            lost.append(task.name)
        else:
            found.append(result)
    if lost:
        raise CrlmError(
            f"the workers died again and again over {len(lost)} outer folds", where=lost[0],
            remedy="give each more memory: fewer --jobs, or a cluster with larger workers",
        )  # fmt: skip
    return found


def fit_final(
    X: pd.DataFrame, y: Outcome | pd.DataFrame, recipe: Recipe, *,
    endpoint: str, horizon: float | None, inner_folds: int, seed: int, min_events: int = 10,
) -> Pipeline:  # fmt: skip
    """The model to deliver: tuned by inner cross-validation on all patients, then refit on all.

    Parameters and refusals as in :func:`nested_cv`.
    """
    at = horizon if recipe.kind == "binary" else None
    outcome = _check_request(X, y, recipe, at, inner_folds)
    check_outcome(outcome, horizon=at, min_events=min_events, where=f"{endpoint}, {recipe.name}")
    with threadpool_limits(1):
        generator, nothing_sealed = np.random.default_rng(seed), FitAudit(pd.Index([]))
        return _tune_and_fit(X, outcome, recipe, at, inner_folds, generator, nothing_sealed)[0]


def pipeline_risk(pipeline: Pipeline, X: pd.DataFrame) -> Floats:
    """Risk of each row from a fitted pipeline; higher = event more likely or sooner."""
    return np.asarray(pipeline[-1].risk(pipeline[:-1].transform(X)))


def pipeline_probability(pipeline: Pipeline, X: pd.DataFrame, months: tuple[float, ...] = REPORT_MONTHS) -> Floats:
    """Probability of the event within each of ``months``, n x len(months); NaN where the model does not speak."""
    return np.asarray(pipeline[-1].probability(pipeline[:-1].transform(X), months))


def training_rows(assigned: Ints, fold: int) -> Ints:
    """Positions of the rows that are fitted when ``fold`` is tested."""
    return np.flatnonzero(assigned != fold)


def report_months(horizon: float | None) -> tuple[float, ...]:
    """Months at which probabilities are recorded: those of all models, then the horizon of a binary one.

    >>> report_months(6.0)
    (12.0, 24.0, 36.0, 6.0)
    """
    return REPORT_MONTHS if horizon is None or horizon in REPORT_MONTHS else (*REPORT_MONTHS, horizon)


def _check_request(
    X: pd.DataFrame, y: Outcome | pd.DataFrame, recipe: Recipe, horizon: float | None, inner_folds: int
) -> Outcome:  # fmt: skip
    """Outcomes in the order of the table, after the checks that both kinds of training share."""
    if inner_folds < 2:
        raise ConfigError("too few inner folds", where=recipe.name, expected=">= 2", got=str(inner_folds))
    learner = candidates(recipe, horizon)[0]
    check_table(X, recipe)
    outcome = align_outcome(y, X.index)
    learner.check(outcome)
    return outcome


def _outer_fold(task: FoldTask) -> FoldResult:
    """Tune and fit on the training patients of one outer fold, predict its test patients. Runs in a worker."""
    if task.code and task.code != learner_code():
        raise ConfigError(
            "a worker has other learners or libraries than this program",
            remedy="install the same version of radiomics_crlm and of its lock on all workers",
        )
    design, repeat, fold = task.design, task.repeat, task.fold
    X, y, horizon, assigned = design.X, design.y, design.horizon, design.folds[repeat].to_numpy()
    train = training_rows(assigned, fold) if not design.forward else np.flatnonzero(assigned < fold)
    test = np.flatnonzero(assigned == fold)
    # Going forward in time, later patients are sealed too.
    sealed = X.index[assigned >= fold if design.forward else assigned == fold]
    audit = FitAudit(sealed, resampled=design.resampled)
    generator = np.random.default_rng((design.seed, repeat, fold))
    pipeline, tuning, thresholds = _tune_and_fit(
        X.iloc[train], y[train], design.recipe, horizon, design.inner_folds, generator, audit
    )
    inputs = pipeline[:-1].transform(X.iloc[test])
    predictions = pd.DataFrame({"patient_id": X.index[test], "repeat": repeat, "fold": fold})
    predictions["risk"] = pipeline[-1].risk(inputs)
    months = report_months(horizon)
    probability = pipeline[-1].probability(inputs, months)
    for column, month in enumerate(months):
        predictions[f"probability_{month:.0f}m"] = probability[:, column]
    if "harmonise" in pipeline.named_steps:
        predictions["site_unseen"] = pipeline.named_steps["harmonise"].of_unseen_site(X.iloc[test])
    judged = judge_thresholds(thresholds, probability, y[test], months).assign(repeat=repeat, fold=fold)
    tuned = tuning.assign(repeat=repeat, fold=fold)
    return FoldResult(repeat, fold, predictions, tuned, judged, audit.fits, pipeline if task.keep_model else None)


def _tune_and_fit(
    X: pd.DataFrame, y: Outcome, recipe: Recipe, horizon: float | None, inner_folds: int,
    generator: np.random.Generator, audit: FitAudit,
) -> tuple[Pipeline, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    choices, parts = candidates(recipe, horizon), []
    scores, best = np.array([np.nan]), 0
    if not recipe.fixed or recipe.operating is not None:
        inner = folds_of_patients(X.index, stratum(y, horizon), inner_folds, generator)
        parts = _inner_parts(X, y, inner, recipe, horizon, audit)
    if not recipe.fixed:
        if recipe.search is None:
            scores = _inner_concordance(parts, choices)
        else:
            choices, scores = _search(parts, recipe, horizon, choices[0], int(generator.integers(2**32)))
        best = most_conservative_best(scores)
    steps, inputs = _fit_preprocessing(X, y, recipe, horizon, audit, "refit")
    learner = clone(informed(choices, steps)[best]).fit(inputs, y)
    tuning = pd.DataFrame(
        {
            "parameters": [
                json.dumps({name: choice.get_params()[name] for name in recipe.space()}) for choice in choices
            ],
            "concordance": scores,
            "selected": np.arange(len(choices)) == best,
        }
    )
    thresholds = pd.DataFrame()
    if recipe.operating is not None:
        months = report_months(horizon)
        unseen = _inner_probability(parts, choices[best], months)
        learner, thresholds = operate(recipe.operating, learner, unseen, y, months)
    return Pipeline([*steps.steps, ("learner", learner)]), tuning, thresholds


@dataclass(frozen=True)
class _Part:
    """An inner fold, ready for any learner: its preprocessing is fitted once for all of them."""

    steps: Pipeline
    inputs: Floats
    outcome: Outcome
    unseen: Floats
    weight: Floats
    test: Ints


def _inner_parts(
    X: pd.DataFrame, y: Outcome, inner: Ints, recipe: Recipe, horizon: float | None, audit: FitAudit
) -> list[_Part]:
    pairs = endpoint_pairs(y, recipe.kind, horizon)
    parts = []
    for fold in np.unique(inner):
        train, test = training_rows(inner, fold), np.flatnonzero(inner == fold)
        steps, inputs = _fit_preprocessing(X.iloc[train], y[train], recipe, horizon, audit, f"inner fold {fold}")
        parts.append(_Part(steps, inputs, y[train], steps.transform(X.iloc[test]), pairs[np.ix_(test, test)], test))
    return parts


def _inner_probability(parts: list[_Part], choice: Learner, months: tuple[float, ...]) -> Floats:
    """Probabilities of the training patients from inner models that did not see them."""
    out = np.full((sum(part.test.size for part in parts), len(months)), np.nan)
    for part in parts:
        learner = clone(informed([choice], part.steps)[0]).fit(part.inputs, part.outcome)
        out[part.test] = learner.probability(part.unseen, months)
    return out


def _inner_concordance(parts: list[_Part], choices: list[Learner]) -> Floats:
    """Within-inner-fold concordance of each candidate."""
    agreed, total = np.zeros(len(choices)), 0.0
    for part in parts:
        risks = risks_of_candidates(informed(choices, part.steps), part.inputs, part.outcome, part.unseen)
        total += part.weight.sum()
        agreed += [(part.weight * agreement(risk)).sum() for risk in risks]
    return agreed / total if total > 0 else np.full(len(choices), 0.5)


def _search(
    parts: list[_Part], recipe: Recipe, horizon: float | None, first: Learner, seed: int
) -> tuple[list[Learner], Floats]:
    """The learners that a search tried, and their concordance."""

    def judge(settings: dict[str, float]) -> float:
        return float(_inner_concordance(parts, [learner_with(recipe, horizon, settings)])[0])

    ranges, start = recipe.ranges(), first.get_params()
    trials = recipe.search.trials if recipe.search is not None else 0
    found = search(ranges, judge, trials=trials, seed=seed, first={name: start[name] for name in ranges})
    return [learner_with(recipe, horizon, settings) for settings in found.settings], found.scores


def _fit_preprocessing(
    X: pd.DataFrame, y: Outcome, recipe: Recipe, horizon: float | None, audit: FitAudit, step: str
) -> tuple[Pipeline, Floats]:
    """The one door to fitting: the audit sees the very rows that are fitted, and learners get only what comes out."""
    audit.check(X.index, f"{recipe.name}: {step}")
    steps = preprocessing(recipe, horizon)
    if recipe.harmonisation is not None and step != "refit":
        steps.set_params(**recipe.harmonisation.inner_settings(X.index))
    inputs = steps.fit_transform(X, y)
    if not np.isfinite(inputs).all():
        raise InputError(
            f"{int((~np.isfinite(inputs)).any(axis=0).sum())} inputs are missing after imputation",
            where=f"{recipe.name}: {step}", expected="finite numbers", remedy="look for absurd values in the columns",
        )  # fmt: skip
    return steps, inputs


def most_conservative_best(scores: Floats) -> int:
    """Position of the best score; of equals the first, which is the most conservative.

    >>> most_conservative_best(np.array([0.5, 0.7, 0.7]))
    1
    """
    return int(np.flatnonzero(scores >= scores.max() - 1e-12)[0])
