"""Calibration and thresholds inside the training fold, from predictions for patients whom the inner models did not see.

Labels at a horizon are weighted for censoring (``outcome.horizon_labels``), so nobody is dropped or called free of the
event for having left early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, horizon_labels
from radiomics_crlm.modelling.learner import RiskLearner
from radiomics_crlm.modelling.risk import logistic

CalibrationName = Literal["platt", "isotonic"]
_EDGE = 1e-6
_MAX_STEPS = 100


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen.

    ``sensitivity``: the largest threshold that finds at least the share ``low`` of the patients with the event.
    ``net_benefit``: of the thresholds between ``low`` and ``high`` the one whose net benefit exceeds that of treating
    all or none most.

    Raises
    ------
    ConfigError
        If a limit is not between 0 and 1, or they are not in order.
    """

    kind: Literal["sensitivity", "net_benefit"]
    low: float
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.kind == "net_benefit") != (self.high is not None) or not 0 < self.low <= (self.high or self.low) < 1:
            raise ConfigError(
                "a threshold rule is out of range", where=self.kind,
                expected="a share between 0 and 1; low and high for net benefit",
            )  # fmt: skip

    @property
    def name(self) -> str:
        """In words, for tables.

        >>> ThresholdRule("net_benefit", 0.1, 0.4).name
        'net benefit from 0.1 to 0.4'
        """
        if self.high is None:
            return f"sensitivity of at least {self.low:g}"
        return f"net benefit from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Operating:
    """What a recipe asks for: a calibration (or none) and thresholds at ``months`` (the horizon of a binary endpoint).

    Raises
    ------
    ConfigError
        For an unknown calibration.
    """

    calibration: CalibrationName | None = None
    thresholds: tuple[ThresholdRule, ...] = ()
    months: float = 24.0

    def __post_init__(self) -> None:
        if self.calibration is not None and self.calibration not in get_args(CalibrationName):
            raise ConfigError("unknown calibration", expected=", ".join(get_args(CalibrationName)))


@dataclass(frozen=True)
class Platt:
    """Logistic recalibration: ``logit(new) = intercept + slope * logit(old)``."""

    intercept: float
    slope: float

    def __call__(self, probability: Floats) -> Floats:
        """Recalibrated probabilities; NaN stays."""
        return np.asarray(logistic(self.intercept + self.slope * _logit(probability)))


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A monotone function through points, constant beyond them."""

    old: Floats
    new: Floats

    def __call__(self, probability: Floats) -> Floats:
        """Recalibrated probabilities; NaN stays."""
        return np.asarray(np.interp(probability, self.old, self.new))


Calibrator = Platt | Isotonic


def fit_platt(probability: Floats, label: Floats, weight: Floats) -> Platt:
    """Logistic recalibration with Platt's targets, which keep it finite where the classes do not overlap.

    Parameters
    ----------
    probability, label, weight
        n each; weights >= 0, both labels present.

    Raises
    ------
    InputError
        If a class is empty, or it does not converge.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines; Newton steps of Lin, Lin, Weng 2007,
    doi:10.1007/s10994-007-5018-6.
    """
    cases, others = _both(label, weight)
    target = np.where(label == 1, (cases + 1) / (cases + 2), 1 / (others + 2))
    X = np.column_stack((np.ones(label.size), _logit(probability)))
    beta = np.array([0.0, 1.0])

    def loss(at: Floats) -> float:
        linear = X @ at
        return float(weight @ (np.logaddexp(0.0, linear) - target * linear))

    for _ in range(_MAX_STEPS):
        p = logistic(X @ beta)
        gradient = X.T @ (weight * (p - target))
        if np.abs(gradient).max() < 1e-9 * weight.sum():
            return Platt(float(beta[0]), float(beta[1]))
        hessian = (X * (weight * p * (1 - p))[:, None]).T @ X + 1e-10 * weight.sum() * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        # Near the optimum rounding makes a full step look worse by less than this.
        while loss(beta - size * step) > loss(beta) * (1 + 1e-12) and size > 1e-10:
            size /= 2
        beta = beta - size * step
    raise InputError("the calibration does not converge", where="calibration")


def fit_isotonic(probability: Floats, label: Floats, weight: Floats) -> Isotonic:
    """The rising step function closest to the weighted labels (pool adjacent violators), joined by lines.

    Raises
    ------
    InputError
        If a class is empty.
    """
    _both(label, weight)
    model = IsotonicRegression(y_min=0.0, y_max=1.0).fit(probability, label, sample_weight=weight)
    return Isotonic(np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_))


def fit_calibrators(
    name: CalibrationName, probability: Floats, y: Outcome, months: Sequence[float]
) -> dict[float, Calibrator]:
    """A calibrator for each of ``months`` at which all patients have a probability and both labels are known.

    Parameters
    ----------
    name
        ``platt`` or ``isotonic``.
    probability
        n x len(months), of patients whom the models did not see.
    y
        n outcomes.
    """
    fit: Callable[[Floats, Floats, Floats], Calibrator] = fit_platt if name == "platt" else fit_isotonic
    found: dict[float, Calibrator] = {}
    for column, month in enumerate(months):
        p = probability[:, column]
        label, weight = horizon_labels(y, month)
        known = weight > 0
        if np.isfinite(p).all() and 0 < label[known].sum() < known.sum():
            found[month] = fit(p[known], label[known], weight[known])
    return found


class CalibratedLearner(RiskLearner):
    """A fitted learner whose probabilities are recalibrated; its risk stays as it is.

    Parameters
    ----------
    learner
        Fitted.
    calibrators
        By month; probabilities at other times stay.
    """

    not_deliverable = "probabilities that are recalibrated inside the fold"

    def __init__(self, learner: RiskLearner, calibrators: Mapping[float, Calibrator]) -> None:
        self.learner = learner
        self.calibrators = calibrators

    def __sklearn_is_fitted__(self) -> bool:
        """It is made of what is fitted."""
        return True

    def risk(self, X: Floats) -> Floats:
        """Risk of n rows."""
        return self.learner.risk(X)

    def probability(self, X: Floats, months: Sequence[float]) -> Floats:
        """Recalibrated probability of the event within each of ``months``."""
        return recalibrated(self.learner.probability(X, months), self.calibrators, months)


def recalibrated(probability: Floats, calibrators: Mapping[float, Calibrator], months: Sequence[float]) -> Floats:
    """Probabilities, n x len(months), with each calibrator applied to its month; they never fall with time."""
    out = np.array(probability, dtype=float, copy=True)
    for column, month in enumerate(months):
        if month in calibrators:
            out[:, column] = calibrators[month](out[:, column])
    spoken = [column for column in np.argsort(months) if not np.isnan(out[:, column]).any()]
    if calibrators and spoken:
        out[:, spoken] = np.maximum.accumulate(out[:, spoken], axis=1)
    return out


def choose_threshold(rule: ThresholdRule, probability: Floats, y: Outcome, months: float) -> float:
    """Threshold of the probability from which on a patient counts as high-risk; NaN if there is none.

    Parameters
    ----------
    rule
        See :class:`ThresholdRule`.
    probability
        n, of patients whom the models did not see.
    y, months
        n outcomes and the time of the label.
    """
    label, weight = horizon_labels(y, months)
    cases = weight * label
    if not np.isfinite(probability).all() or cases.sum() <= 0:
        return float("nan")
    if rule.high is None:
        at = np.unique(probability[weight > 0])
        found = np.array([cases[probability >= t].sum() for t in at])
        return float(at[found >= rule.low * cases.sum() * (1 - 1e-12)].max())
    at = probability[(probability >= rule.low) & (probability <= rule.high)]
    inside = np.unique(np.concatenate(([rule.low, rule.high], at)))
    gain = [net_benefit(probability, label, weight, t) - _default(label, weight, t) for t in inside]
    return float(inside[int(np.argmax(np.round(gain, 12)))])


def operate(
    asked: Operating, learner: RiskLearner, unseen: Floats, y: Outcome, months: Sequence[float]
) -> tuple[RiskLearner, pd.DataFrame]:
    """The learner with its probabilities recalibrated, and the thresholds, both from inner predictions.

    Parameters
    ----------
    asked
        What is wanted.
    learner
        Fitted on all training patients.
    unseen
        n x len(months): probabilities of the training patients from inner models that did not see them.
    y, months
        n outcomes; the times.

    Returns
    -------
    learner, thresholds
        ``thresholds`` has a row per rule: ``rule, months, threshold`` and what it does on the inner predictions.
    """
    calibrators = {} if asked.calibration is None else fit_calibrators(asked.calibration, unseen, y, months)
    if asked.calibration is not None:
        learner = CalibratedLearner(learner, calibrators)
    rows = []
    if asked.months in months:
        p = recalibrated(unseen, calibrators, months)[:, list(months).index(asked.months)]
        for rule in asked.thresholds:
            threshold = choose_threshold(rule, p, y, asked.months)
            inner = dict(zip(("sensitivity_inner", "specificity_inner"), accuracy(p, y, asked.months, threshold)[:2],
                             strict=True))  # fmt: skip
            rows.append({"rule": rule.name, "months": asked.months, "threshold": threshold, **inner})
    return learner, pd.DataFrame(rows)


def judge_thresholds(
    thresholds: pd.DataFrame, probability: Floats, y: Outcome, months: Sequence[float]
) -> pd.DataFrame:
    """The thresholds with what they do for the test patients: sensitivity, specificity, share flagged and number."""
    tested = []
    for month, threshold in zip(thresholds.get("months", []), thresholds.get("threshold", []), strict=True):
        p = probability[:, list(months).index(month)]
        sensitivity, specificity, share = accuracy(p, y, month, threshold)
        tested.append({"sensitivity": sensitivity, "specificity": specificity, "flagged": share, "n": y.size})
    return pd.concat([thresholds, pd.DataFrame(tested, index=thresholds.index)], axis=1)


def net_benefit(probability: Floats, label: Floats, weight: Floats, threshold: float) -> float:
    """Net benefit of treating from a threshold on, per patient.

    References
    ----------
    Vickers, Elkin 2006, doi:10.1177/0272989X06295361.
    """
    flagged = probability >= threshold
    odds = threshold / (1 - threshold)
    return float((weight * flagged) @ (label - odds * (1 - label)) / weight.sum())


def accuracy(probability: Floats, y: Outcome, months: float, threshold: float) -> tuple[float, float, float]:
    """Sensitivity, specificity and share of patients from a threshold on, weighted for censoring; NaN where nobody
    counts."""
    if np.isnan(threshold):
        return float("nan"), float("nan"), float("nan")
    label, weight = horizon_labels(y, months)
    flagged = probability >= threshold
    cases, others = weight * label, weight * (1 - label)
    sensitivity = float(cases @ flagged / cases.sum()) if cases.sum() > 0 else float("nan")
    specificity = float(others @ ~flagged / others.sum()) if others.sum() > 0 else float("nan")
    return sensitivity, specificity, float(flagged.mean())


def _default(label: Floats, weight: Floats, threshold: float) -> float:
    """Net benefit of treating all or none, whichever is larger."""
    return max(0.0, net_benefit(np.ones(label.size), label, weight, threshold))


def _both(label: Floats, weight: Floats) -> tuple[float, float]:
    cases, others = float(weight @ label), float(weight @ (1 - label))
    if min(cases, others) <= 0:
        raise InputError("a class is empty", where="calibration", expected="patients with and without the event")
    return cases, others


def _logit(probability: Floats) -> Floats:
    p = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))
