"""A sample of patients, its bootstrap resamples, and percentile intervals.

Every metric is a function of how often each patient is in the sample, so it is computed for the sample itself and all
resamples at once: values have length 1 + draws, the first is the estimate. Censoring weights are estimated anew in
each resample, so that each value is exactly what the metric would be in a table in which the patients are repeated.
Predictions are held fixed: the interval says how much the estimate depends on who was tested, not how much the models
would change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from radiomics_crlm.evaluation.incidence import resampled_censoring_survival
from radiomics_crlm.evaluation.outcome import Floats, Outcome

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95 % limits; all NaN if it cannot be computed."""

    value: float
    lower: float
    upper: float


NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class HorizonSample:
    """Binary outcomes at a horizon, as :func:`outcome.horizon_labels` defines them, in a sample and its resamples.

    Parameters
    ----------
    label
        n labels: 1 for the event by the horizon, else 0.
    counts
        (1 + draws) x n: how often each resample holds each patient.
    weights
        (1 + draws) x n: ``counts`` times the inverse probability of being uncensored; 0 where the label is unknown.
    """

    label: Floats
    counts: Floats
    weights: Floats

    @property
    def size(self) -> Floats:
        """Patients in each resample, those with an unknown label too."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def incidence(self) -> Floats:
        """Weighted share of the label 1 in each resample: the Aalen-Johansen incidence."""
        return np.asarray(self.weights @ self.label / self.size)


@dataclass(frozen=True)
class Resamples:
    """n patients and their bootstrap resamples; the first resample is the sample itself.

    Parameters
    ----------
    y
        n outcomes.
    counts
        (1 + draws) x n; the first row is all 1.
    """

    y: Outcome
    counts: Floats
    _kept: dict[bytes, Floats] = field(default_factory=dict, repr=False, compare=False)
    _labelled: dict[float, HorizonSample] = field(default_factory=dict, repr=False, compare=False)

    def censoring_weights(self, at: npt.ArrayLike) -> Floats:
        """1/G(t-) of each patient at a time t up to the patient's own, in each resample that holds the patient, else 0.

        G is the Kaplan-Meier curve of censoring in the resample; at equal times events come before censoring.
        """
        times = np.asarray(at, dtype=float)
        key = times.tobytes()
        if key not in self._kept:
            survival = resampled_censoring_survival(self.y, times, self.counts)
            self._kept[key] = np.divide(1.0, survival, out=np.zeros_like(survival), where=self.counts > 0)
        return self._kept[key]

    def at(self, horizon: float) -> HorizonSample:
        """The binary outcomes at a horizon in months."""
        if horizon not in self._labelled:
            event, months = self.y["event"], self.y["months"]
            label = ((event == 1) & (months <= horizon)).astype(float)
            known = (event != 0) | (months >= horizon)
            inverse = self.censoring_weights(np.minimum(months, horizon))
            self._labelled[horizon] = HorizonSample(label, self.counts, np.where(known, self.counts * inverse, 0.0))
        return self._labelled[horizon]


def resamples(y: Outcome, *, draws: int, seed: int) -> Resamples:
    """The sample and ``draws`` bootstrap resamples of it; ``draws`` 0 gives the sample alone."""
    itself = np.ones((1, y.size))
    return Resamples(y, np.concatenate((itself, bootstrap_weights(y.size, draws, seed))) if draws else itself)


def bootstrap_weights(n: int, draws: int, seed: int) -> Floats:
    """How often each of n patients is drawn in each bootstrap sample: draws x n, rows sum to n.

    >>> bootstrap_weights(4, 3, seed=1).sum(axis=1).tolist()
    [4.0, 4.0, 4.0]
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(float)


def percentile_estimate(value: float, replicates: Floats) -> Estimate:
    """95 % percentile interval. NaN if more than 1 % of the draws could not be evaluated: they are not ignorable
    then."""
    finite = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or not finite.size or finite.size < 0.99 * replicates.size:
        return Estimate(value, float("nan"), float("nan"))
    lower, upper = np.quantile(finite, (0.025, 0.975))
    return Estimate(value, float(lower), float(upper))


def estimate_of(values: Floats) -> Estimate:
    """Estimate with percentile interval from the values of a sample and its resamples."""
    return percentile_estimate(float(values[0]), values[1:])


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element-wise quotient; NaN where the denominator is not positive."""
    blank = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=blank, where=np.asarray(denominator) > 0)
