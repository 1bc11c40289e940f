"""Rank statistics of out-of-fold risks: comparable pairs of the same fold only, in a sample and its resamples.

Risks of different folds come from different models on different scales, so patients of different folds are never
compared; concordant and comparable weights are summed over folds and repeats before dividing. A statistic is a sum over
ordered pairs (i, j) in which i should have the higher risk. The weight of a pair is a product of a number for i and one
for j - how often they are drawn, times powers of their inverse probabilities of censoring - so every resample is a
product of a vector, a fixed n x n matrix and another vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.discrimination import survival_pairs
from radiomics_crlm.evaluation.outcome import Floats, Kind, Outcome
from radiomics_crlm.evaluation.resampling import Ints, Resamples, ratio, resamples

Controls = Literal["all", "event_free"]


@dataclass(frozen=True)
class RankTerm:
    """Comparable pairs, n x n of 0 and 1, and the power of the censoring weight with which row and column count."""

    pairs: Floats
    row_power: int = 0
    column_power: int = 0


@dataclass(frozen=True)
class RankStatistic:
    """A share of agreeing pairs; ``weigh_at`` is the time at which each patient's censoring weight is taken."""

    terms: tuple[RankTerm, ...]
    weigh_at: Floats | None = None


def harrell(y: Outcome) -> RankStatistic:
    """Harrell's C, cause-specific (see :mod:`discrimination`)."""
    return RankStatistic((RankTerm(survival_pairs(y)),))


def uno(y: Outcome, months: float) -> RankStatistic:
    """Uno's C up to a time: Harrell's pairs whose event comes before it, each with the weight 1/G(t-)^2 of the event.

    It does not depend on how patients were censored, as Harrell's C does. A competing event counts as censoring in the
    pairs, not in G.

    References
    ----------
    Uno et al. 2011, doi:10.1002/sim.4154.
    """
    pairs = survival_pairs(y) * (y["months"] < months)[:, None]
    return RankStatistic((RankTerm(pairs, 2, 0),), _as_floats(y["months"]))


def competing_risks(y: Outcome, months: float) -> RankStatistic:
    """C for the incidence of the event with a competing one, up to a time; it equals :func:`uno` where there is none.

    A patient with the event should have a higher risk than everybody who is still free of it, and than those whose
    competing event came before or at the same time: they will never have it. Weights 1/G(t_i-)^2 for the former pairs,
    1/(G(t_i-) G(t_j-)) for the latter.

    References
    ----------
    Wolbers et al. 2014, doi:10.1093/biostatistics/kxt059.
    """
    event, times = y["event"], y["months"]
    case = ((event == 1) & (times < months))[:, None]
    rival = event == 2
    free = (times[None, :] > times[:, None]) | ((times[None, :] == times[:, None]) & (event == 0)[None, :])
    gone = rival[None, :] & (times[None, :] <= times[:, None])
    terms = (RankTerm((case & free).astype(float), 2, 0), RankTerm((case & gone).astype(float), 1, 1))
    return RankStatistic(terms, _as_floats(times))


def auc_at(y: Outcome, horizon: float, *, controls: Controls = "all") -> RankStatistic:
    """Cumulative/dynamic AUC at a horizon, weighted for censoring.

    Cases had the event by the horizon. Controls are all others: free of any event at the horizon, or with the competing
    event by then (definition 2 of Blanche et al.); ``event_free`` leaves the latter out (definition 1).

    References
    ----------
    Blanche et al. 2013, doi:10.1002/sim.5958.
    """
    event, months = y["event"], y["months"]
    case = (event == 1) & (months <= horizon)
    free = (months > horizon) | ((event == 0) & (months >= horizon))
    control = free | (event == 2) if controls == "all" else free
    pairs = np.outer(case, control & ~case).astype(float)
    return RankStatistic((RankTerm(pairs, 1, 1),), np.minimum(_as_floats(months), horizon))


def primary(y: Outcome, kind: Kind, horizon: float | None) -> RankStatistic:
    """The statistic that belongs to an endpoint: Harrell's C, or the AUC at its horizon.

    Raises
    ------
    InputError
        For a binary endpoint without a horizon.
    """
    if kind == "time_to_event":
        return harrell(y)
    if horizon is None:
        raise InputError("a binary endpoint needs a horizon", expected="months > 0")
    return auc_at(y, horizon)


def truncation(y: Outcome, *, share: float = 0.1, fewest: int = 10) -> float:
    """Time up to which Uno's C is taken: whole months to which a tenth of the patients, and at least ten, are followed.

    Beyond it the weights rest on very few patients. Where fewer than ten patients are followed for a month at all,
    the end of follow-up.
    """
    ordered = np.sort(y["months"])[::-1]
    needed = max(fewest, int(np.ceil(share * y.size)))
    months = np.floor(ordered[needed - 1]) if needed <= y.size else 0.0
    return float(months) if months >= 1 else float(np.floor(ordered[0]) + 1)


def fold_mates(fold: Ints) -> Floats:
    """n x n: in how many repeats two patients are in the same fold (``fold`` is n x repeats)."""
    mates = np.zeros((len(fold), len(fold)))
    for column in fold.T:
        mates += column[:, None] == column[None, :]
    return mates


def fold_agreement(first: Floats, second: Floats, fold: Ints) -> Floats:
    """n x n, summed over the repeats in which two patients share a fold: 1 where the ``first`` of the row exceeds the
    ``second`` of the column, 1/2 where they are equal.

    Parameters
    ----------
    first, second
        n x repeats, higher = event more likely.
    fold
        n x repeats, outer test fold.

    Raises
    ------
    InputError
        For shapes that differ or a risk that is not finite.
    """
    if not (first.shape == second.shape == fold.shape):
        raise InputError("risk and fold have different shapes", got=f"{first.shape}, {second.shape}, {fold.shape}")
    if bad := int((~np.isfinite(first)).sum() + (~np.isfinite(second)).sum()):
        raise InputError(f"{bad} risks are not finite", where="risk")
    agreed = np.zeros((len(fold), len(fold)))
    for a, b, folds in zip(first.T, second.T, fold.T, strict=True):
        together = folds[:, None] == folds[None, :]
        agreed += together * (0.5 * (1.0 + np.sign(a[:, None] - b[None, :])))
    return agreed


def rank_values(statistic: RankStatistic, mates: Floats, agreed: Floats, sample: Resamples) -> Floats:
    """Value of a rank statistic in a sample and its resamples; NaN where no pair is comparable.

    Parameters
    ----------
    statistic
        What is compared.
    mates, agreed
        :func:`fold_mates` and :func:`fold_agreement` of the risk with itself. With ones as mates and the plain
        agreement, all pairs are compared.
    sample
        n patients and their resamples.
    """
    comparable, concordant = np.zeros(len(sample.counts)), np.zeros(len(sample.counts))
    for term in statistic.terms:
        rows = term.pairs.any(axis=1)
        left = side_weights(sample, statistic.weigh_at, term.row_power)[:, rows]
        right = side_weights(sample, statistic.weigh_at, term.column_power)
        pairs = term.pairs[rows]
        comparable += ((left @ (pairs * mates[rows])) * right).sum(axis=1)
        concordant += ((left @ (pairs * agreed[rows])) * right).sum(axis=1)
    return ratio(concordant, comparable)


def side_weights(sample: Resamples, weigh_at: Floats | None, power: int) -> Floats:
    """Number with which each patient counts on one side of a pair, in each resample."""
    if weigh_at is None or power == 0:
        return sample.counts
    return np.asarray(sample.counts * sample.censoring_weights(weigh_at) ** power)


def within_folds(statistic: RankStatistic, risk: Floats, fold: Ints, sample: Resamples) -> Floats:
    """:func:`rank_values` of out-of-fold risks, n x repeats."""
    return rank_values(statistic, fold_mates(fold), fold_agreement(risk, risk, fold), sample)


def whole_sample(statistic: RankStatistic, y: Outcome, risk: npt.ArrayLike) -> float:
    """A rank statistic of one risk per patient, all pairs.

    >>> from radiomics_crlm.evaluation.outcome import make_outcome
    >>> y = make_outcome([1, 0, 2, 1], [3, 5, 8, 9])
    >>> whole_sample(uno(y, 12), y, [3, 1, 2, 0])
    1.0
    """
    n = y.size
    one = np.asarray(risk, dtype=float).reshape(-1, 1)
    everybody = np.zeros((n, 1), dtype=np.int64)
    if one.shape[0] != n:
        raise InputError("risk and outcome have different lengths", expected=str(n), got=str(one.shape[0]))
    return float(within_folds(statistic, one, everybody, resamples(y, draws=0, seed=0))[0])


def _as_floats(values: npt.NDArray[np.float64]) -> Floats:
    return np.ascontiguousarray(values, dtype=float)
