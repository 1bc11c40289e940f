"""SHAP values of one fitted pipeline, whatever its learner.

A model of sums is explained exactly, trees by TreeSHAP, and everything else by playing the game of its risk against a
few reference rows (:mod:`explanation.sampling`). The only importer of shap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.explanation.learner_inputs import names_of_inputs
from radiomics_crlm.explanation.sampling import Flags, shapley_values
from radiomics_crlm.modelling.glassbox import ExplainableBoosting
from radiomics_crlm.modelling.learner import RiskLearner
from radiomics_crlm.modelling.lesion_learners import LesionLearner
from radiomics_crlm.modelling.lesions import unpack
from radiomics_crlm.modelling.log_time import time_probability
from radiomics_crlm.modelling.operating import CalibratedLearner, recalibrated
from radiomics_crlm.modelling.risk import cumulative_incidence, probability_at_horizon
from radiomics_crlm.modelling.trees import Forest, spoken

ADDITIVITY = 1e-5
"""Largest admissible gap between base value + attributions and the prediction (trees compute in float32)."""
REFERENCES = 8
"""Training rows that stand for unknown inputs where a model is only asked for its risk."""
CARRIED_PAIRS = 64
"""Permutations that carry attributions of a risk to a probability; they cost little, as the model is not asked."""
_CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class Parts:
    """A prediction as a sum: ``base`` (outputs) and ``values`` (n x inputs x outputs), and the way they were made.

    A model has one output, its risk, and probabilities are a function of it; those of a forest are outputs of their
    own.
    """

    names: list[str]
    values: Floats
    base: Floats
    method: str


def risk_parts(pipeline: Pipeline, train: pd.DataFrame, test: pd.DataFrame, *, seed: int) -> Parts:
    """SHAP values of the risk of tested patients.

    Linear models and sums of curves refer to the mean over the training rows (exact interventional values, as
    ``shap.LinearExplainer``), trees to their own expectation (exact path-dependent TreeSHAP), learners of lesions to
    reference lesions of the training patients (permutations).

    Parameters
    ----------
    pipeline
        Fitted, of :mod:`modelling.train`.
    train, test
        Predictors of the patients it was fitted on and of those to be explained.
    seed
        Of permutations.

    Raises
    ------
    CrlmError
        If values do not add up to the risk.
    """
    learner, names = _inner(pipeline[-1]), names_of_inputs(pipeline)
    inputs = np.asarray(pipeline[:-1].transform(test), dtype=float)
    background = np.asarray(pipeline[:-1].transform(train), dtype=float)
    if isinstance(learner, LesionLearner):
        values, base = _of_lesions(learner, inputs, background, seed)
        method = "permutations"
    elif isinstance(learner, ExplainableBoosting) and _of_single_inputs(learner):
        values, base = _of_curves(learner, inputs, background)
        method = "curves"
    elif (forest := getattr(learner, "forest_", None)) is not None:
        values, base = _of_trees({"trees": _trees(forest, learner.output_)}, _single(inputs))
        method = "trees"
    elif hasattr(learner, "booster_"):
        values, base = _of_trees(learner.booster_, inputs)
        sign = -1.0 if hasattr(learner, "time_") else 1.0  # a longer time is a lower risk
        values, base, method = sign * values, sign * base, "trees"
    elif hasattr(learner, "coef_"):
        values, base = _of_lines(learner, inputs, background)
        method = "linear"
    else:
        values, base = _of_any(learner.risk, inputs, background, seed)
        method = "permutations"
    check_additivity(values, base, learner.risk(inputs))
    return Parts(names, values[:, :, None], np.array([base]), method)


def probability_parts(
    pipeline: Pipeline, test: pd.DataFrame, risk: Parts, months: Sequence[float], *, seed: int
) -> Parts:
    """SHAP values of the probability of the event within each of ``months`` (the outputs).

    The probability of a forest is what its trees give and is explained exactly. Everywhere else it is a rising
    function of the risk, and the attributions of the risk are carried through it: the worth of a set of inputs is the
    probability at base risk + their attributions, and the Shapley values of that game are taken (exactly for few
    inputs, else by permutations). For a linear model this is the Shapley value of the probability itself, inputs that
    are unknown standing at their training mean.

    Parameters
    ----------
    pipeline, test, seed
        As in :func:`risk_parts`.
    risk
        What it gave.
    months
        At which the model speaks.

    Raises
    ------
    CrlmError
        If values do not add up to the probability.
    """
    given = pipeline[-1]
    learner, inputs = _inner(given), np.asarray(pipeline[:-1].transform(test), dtype=float)
    forest = getattr(learner, "forest_", None)
    parts = risk if forest is None else _forest_outputs(forest, inputs, risk)
    link = _link(learner, given, months)
    if forest is not None and learner is given:
        columns = [list(learner.months_).index(month) for month in months]
        values, base = parts.values[:, :, columns], parts.base[columns]
    else:
        values, base = _carried(parts, link, len(months), seed)
    predicted = np.asarray(given.probability(inputs, months), dtype=float)
    for column in range(len(months)):
        check_additivity(values[:, :, column], float(base[column]), predicted[:, column])
    return Parts(parts.names, values, base, risk.method)


def months_spoken(pipeline: Pipeline, test: pd.DataFrame, months: Sequence[float]) -> tuple[float, ...]:
    """Those of ``months`` at which a model has a probability for every tested patient."""
    predicted = np.asarray(pipeline[-1].probability(pipeline[:-1].transform(test), months), dtype=float)
    return tuple(m for m, column in zip(months, predicted.T, strict=True) if np.isfinite(column).all())


def check_additivity(values: Floats, base: float, predicted: Floats) -> None:
    """Refuse attributions (n x inputs) that do not sum to prediction - base.

    Raises
    ------
    CrlmError
        With the largest gap.
    """
    gap = float(np.abs(values.sum(axis=1) + base - predicted).max(initial=0.0))
    # Written so that NaN is refused too.
    if not gap <= ADDITIVITY * max(1.0, float(np.abs(predicted).max(initial=0.0))):
        raise CrlmError("attributions do not add up to the risk", where="explanation", got=f"a gap of {gap:.2g}")


def _inner(learner: Any) -> Any:
    """The learner whose risk it is: recalibration changes probabilities alone."""
    return learner.learner if isinstance(learner, CalibratedLearner) else learner


def _of_lines(learner: Any, inputs: Floats, background: Floats) -> tuple[Floats, float]:
    shap = _shap()
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.LinearExplainer((learner.coef_, float(getattr(learner, "intercept_", 0.0))), masker)
    return np.asarray(explainer.shap_values(inputs), dtype=float), float(np.ravel(explainer.expected_value)[0])


def _of_trees(model: Any, inputs: Floats) -> tuple[Floats, float]:
    explainer = _shap().TreeExplainer(model)
    return np.asarray(explainer.shap_values(inputs), dtype=float), float(np.ravel(explainer.expected_value)[0])


def _of_single_inputs(learner: ExplainableBoosting) -> bool:
    return all(len(term) == 1 for term in learner.machine_.term_features_)


def _of_curves(learner: ExplainableBoosting, inputs: Floats, background: Floats) -> tuple[Floats, float]:
    """A sum of one curve per input: its height over the mean height of the training rows."""
    machine = learner.machine_
    mean = np.asarray(machine.eval_terms(background), dtype=float).mean(axis=0)
    height = np.asarray(machine.eval_terms(inputs), dtype=float) - mean
    values = np.zeros(inputs.shape)
    for term, (column,) in enumerate(machine.term_features_):
        values[:, column] += height[:, term]
    return values, float(np.ravel(machine.intercept_)[0] + mean.sum())


def _of_any(risk: Callable[[Floats], Floats], inputs: Floats, background: Floats, seed: int) -> tuple[Floats, float]:
    """Permutations: unknown inputs stand at those of a few training rows, spread evenly over their risks."""
    return _played(risk, lambda each: each, inputs, _references(risk, background), seed)


def _of_lesions(learner: LesionLearner, inputs: Floats, background: Floats, seed: int) -> tuple[Floats, float]:
    """Permutations over the features of lesions: a feature is known or unknown in all lesions of a patient at once.

    The number of lesions of a patient is not an input: with nothing known the risk is that of the reference lesions.
    """
    rows, owner = unpack(inputs, learner.slots)
    others, _ = unpack(background, learner.slots)
    start = np.flatnonzero(np.diff(owner, prepend=-1))
    count = np.bincount(owner)

    def of_patients(each: Floats) -> Floats:
        if learner.aggregate == "max":
            return np.maximum.reduceat(each, start, axis=-1)
        return np.asarray(np.add.reduceat(each, start, axis=-1) / count)

    values, base = _played(learner.lesion_risk, of_patients, rows, _references(learner.lesion_risk, others), seed)
    return values, base + learner.shift_


def _references(risk: Callable[[Floats], Floats], rows: Floats) -> Floats:
    """Rows that are spread evenly over the risks of all."""
    order = np.argsort(risk(rows), kind="stable")
    places = (np.arange(REFERENCES) + 0.5) / REFERENCES * order.size
    return rows[order[np.unique(places.astype(int))]]


def _played(
    risk: Callable[[Floats], Floats],
    summary: Callable[[Floats], Floats],
    rows: Floats,
    references: Floats,
    seed: int,
) -> tuple[Floats, float]:
    """Shapley values (patients x inputs) of the mean over the references of the summarised risk."""

    def worth(known: Flags) -> Floats:
        """Of one coalition: rows where known, a reference elsewhere."""
        mixed = np.where(known[None, None, :], rows[None, :, :], references[:, None, :])
        each = risk(np.ascontiguousarray(mixed.reshape(-1, rows.shape[1]))).reshape(len(references), len(rows))
        return np.asarray(summary(each).mean(axis=0))

    def game(sets: Flags) -> Floats:
        return np.array([worth(known) for known in sets])

    values = shapley_values(game, rows.shape[1], seed=seed)
    nothing = worth(np.zeros(rows.shape[1], dtype=bool))
    return np.ascontiguousarray(values.T), float(nothing[0])


def _forest_outputs(forest: Forest, inputs: Floats, risk: Parts) -> Parts:
    """A forest has an output for each of its months; binary ones have their horizon alone."""
    count = forest.value.shape[1]
    if count == 1:
        return risk
    made = [_of_trees({"trees": _trees(forest, output)}, _single(inputs)) for output in range(count)]
    values, base = np.stack([v for v, _ in made], axis=2), np.array([b for _, b in made])
    return Parts(risk.names, values, base, risk.method)


def _single(inputs: Floats) -> Floats:
    """In the precision in which a forest compares."""
    return np.asarray(inputs.astype(np.float32).astype(float))


_Link = Callable[[Floats], Floats]


def _link(learner: RiskLearner, given: RiskLearner, months: Sequence[float]) -> _Link:
    """From outputs (rows x outputs) to probabilities (rows x months), recalibrated where the model is."""

    def plain(outputs: Floats) -> Floats:
        if hasattr(learner, "forest_"):
            return spoken(learner.months_, outputs, months)
        risk = np.ascontiguousarray(outputs[:, 0])
        if (horizon := getattr(learner, "horizon", None)) is not None:
            return probability_at_horizon(risk, float(horizon), months)
        if (time := getattr(learner, "time_", None)) is not None:
            return time_probability(time, risk, months)
        return cumulative_incidence(learner.baseline_, risk, months)

    if not isinstance(given, CalibratedLearner):
        return plain
    calibrators = given.calibrators
    return lambda outputs: recalibrated(plain(outputs), calibrators, months)


def _carried(parts: Parts, link: _Link, months: int, seed: int) -> tuple[Floats, Floats]:
    """Shapley values (n x inputs x months) of the game whose worth is the link of base + attributions of a set."""
    moving = np.flatnonzero((parts.values != 0).any(axis=(0, 2)))
    values = np.zeros((*parts.values.shape[:2], months))
    base = np.asarray(link(parts.base[None, :])[0])
    rows, outputs = len(parts.values), parts.base.size
    if not moving.size or not rows:
        return values, base
    given = np.moveaxis(parts.values[:, moving], 0, 1)  # inputs x n x outputs

    def game(sets: Flags) -> Floats:
        reached = np.empty((len(sets), rows, months))
        step = max(1, _CELLS_AT_ONCE // (rows * outputs * 64))
        for begin in range(0, len(sets), step):
            block = sets[begin : begin + step].astype(float)
            total = parts.base + np.tensordot(block, given, axes=1)
            reached[begin : begin + step] = link(total.reshape(-1, outputs)).reshape(len(block), rows, months)
        return reached

    values[:, moving] = np.moveaxis(shapley_values(game, moving.size, seed=seed, pairs=CARRIED_PAIRS), 0, 1)
    return values, base


def _trees(forest: Forest, output: int) -> list[dict[str, Any]]:
    """A forest as the arrays that shap takes."""
    trees = []
    for begin, end in zip(forest.roots, [*forest.roots[1:], forest.feature.size], strict=True):
        left = np.where(forest.left[begin:end] < 0, -1, forest.left[begin:end] - begin)
        right = np.where(left < 0, -1, left + 1)
        trees.append(
            {
                "children_left": left,
                "children_right": right,
                "children_default": right,
                "features": np.where(left < 0, -2, forest.feature[begin:end]),
                "thresholds": forest.threshold[begin:end],
                "values": forest.value[begin:end, [output]] / forest.roots.size,
                "node_sample_weight": forest.cover[begin:end],
            }
        )
    return trees


def _shap() -> ModuleType:
    """Import shap late (it takes seconds), silencing no more than what its colour maps say to matplotlib."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning, message=r"The set_\w+ function will be")
        import shap
    return shap
