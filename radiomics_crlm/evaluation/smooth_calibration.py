"""Smooth calibration curve at a horizon, and how far it lies from the diagonal: ICI, E50, E90.

The observed incidence as a smooth function of the predicted one is a regression of the label at the horizon, weighted
for censoring, with complementary log-log link on a restricted cubic spline of the complementary log-log of the
prediction: a perfect model is the straight line, and under proportional subdistribution hazards so is a badly scaled
one. Out-of-fold predictions of all repeats enter; patients are resampled as a whole. The knots stay where they are in
the resamples.

ICI is the mean distance of curve and prediction over the patients, E50 and E90 their quantiles. They are never 0:
chance alone makes a perfect model's curve wiggle, and a resample's more so. Percentile limits therefore lie too high
where the model is nearly perfect, and could never hold 0; the lower limit is 0 unless a Wald test with the covariance
of the resampled coefficients rejects the diagonal at 5 %.

References
----------
Austin and Steyerberg 2019, doi:10.1002/sim.8281; Austin, Harrell and van Klaveren 2020, doi:10.1002/sim.8570; competing
risks Austin, Putter, Giardiello and van Klaveren 2022, doi:10.1186/s41512-021-00114-6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.resampling import NOTHING, Estimate, HorizonSample, estimate_of

KNOT_QUANTILES = (0.1, 0.5, 0.9)
"""Quantiles of the predictions at which the spline has its knots."""
CURVE_DRAWS = 500
"""At most so many resamples carry the intervals of a curve."""
FEWEST = 10
"""A curve needs so many patients with the label 1, and so many with the label 0."""

_FLOOR = 1e-6
_LARGEST_STEP = 3.0
# Beyond these linear predictors the incidence is 0 or 1 to the last digits.
_LINEAR = (-30.0, 3.5)
_CELLS_AT_ONCE = 200_000


@dataclass(frozen=True)
class SmoothCalibration:
    """Curve with pointwise 95 % limits on a grid of predictions, and its summaries; NaN where none can be fitted."""

    predicted: Floats
    observed: Floats
    lower: Floats
    upper: Floats
    ici: Estimate
    e50: Estimate
    e90: Estimate


def spline_basis(x: Floats, knots: Floats) -> Floats:
    """Columns of a restricted cubic spline: 1, x, and a cubic term per inner knot; linear beyond the outer knots.

    Parameters
    ----------
    x
        m values.
    knots
        Increasing; fewer than three leave a straight line, none a constant.

    References
    ----------
    Harrell, Regression Modeling Strategies, section 2.4.5 (terms divided by the squared distance of the outer knots).

    Examples
    --------
    >>> spline_basis(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.25], [1.0, 2.0, 1.5]]
    """
    columns = [np.ones_like(x)] + ([x] if len(knots) else [])
    if len(knots) >= 3:
        first, before, last = knots[0], knots[-2], knots[-1]
        scale = (last - first) ** 2

        def cube(knot: float) -> Floats:
            return np.maximum(x - knot, 0.0) ** 3 / scale

        gap = last - before
        for knot in knots[:-2]:
            columns.append(cube(knot) - cube(before) * (last - knot) / gap + cube(last) * (before - knot) / gap)
    return np.column_stack(columns)


def smooth_calibration(
    sample: HorizonSample, probability: Floats, *, grid: int = 51, draws: int = CURVE_DRAWS
) -> SmoothCalibration:
    """Smooth calibration of out-of-fold probabilities.

    Parameters
    ----------
    sample
        Labels and weights at the horizon of n patients and their resamples.
    probability
        n x repeats.
    grid
        Points of the curve, evenly between the smallest and the largest prediction.
    draws
        Resamples used for the limits: the first so many.
    """
    points = np.linspace(probability.min(), probability.max(), grid)
    knots = _knots(cloglog(probability.ravel()))
    coefficients = _coefficients(sample, probability, knots, 1 + draws)
    if not np.isfinite(coefficients[0]).all():
        blank = np.full(grid, np.nan)
        return SmoothCalibration(points, blank, blank, blank, NOTHING, NOTHING, NOTHING)
    curves = _incidence(coefficients @ spline_basis(cloglog(points), knots).T)
    finite = np.isfinite(curves[1:]).all(axis=1)
    # Limits as of any other metric: withheld if draws failed.
    limits = np.full((2, grid), np.nan)
    if finite.any() and finite.mean() >= 0.99:
        limits = np.quantile(curves[1:][finite], (0.025, 0.975), axis=0)
    distances = _distances(sample.counts[: len(coefficients)], probability, coefficients, knots)
    floor = 0.0 if _diagonal_is_possible(coefficients, knots, float(cloglog(probability[:1, 0])[0])) else np.inf
    ici, e50, e90 = (_with_floor(estimate_of(values), floor) for values in distances)
    return SmoothCalibration(points, curves[0], limits[0], limits[1], ici, e50, e90)


def cloglog(probability: Floats) -> Floats:
    """log(-log(1 - p)); probabilities of 0 and 1 are moved inside by 1e-6.

    >>> cloglog(np.array([1 - np.exp(-1)])).round(12).tolist()
    [0.0]
    """
    return np.asarray(np.log(-np.log1p(-np.clip(probability, _FLOOR, 1 - _FLOOR))))


def _knots(x: Floats) -> Floats:
    """Three knots; none for a constant prediction, two stand for a straight line where quantiles coincide."""
    knots = np.quantile(x, KNOT_QUANTILES)
    if x.min() == x.max():
        return np.empty(0)
    return knots if (np.diff(knots) > 1e-9 * (x.max() - x.min())).all() else np.array([x.min(), x.max()])


def _incidence(linear: Floats) -> Floats:
    return np.asarray(-np.expm1(-np.exp(np.clip(linear, *_LINEAR))))


def _coefficients(sample: HorizonSample, probability: Floats, knots: Floats, rows: int) -> Floats:
    """Coefficients of the sample and its resamples, resamples x columns; NaN where there is no solution."""
    basis = spline_basis(cloglog(probability.ravel()), knots)
    weights = sample.weights[:rows]
    held = weights[0] > 0
    events, others = int(sample.label[held].sum()), int((1 - sample.label[held]).sum())
    blank = np.full((len(weights), basis.shape[1]), np.nan)
    if min(events, others) < FEWEST:
        return blank
    mean = np.clip(sample.incidence[0], _FLOOR, 1 - _FLOOR)
    start = np.zeros(basis.shape[1])
    start[0] = float(cloglog(np.array([mean]))[0])
    blank[0] = _solve(basis, sample.label, weights[:1], start)[0]
    if np.isfinite(blank[0]).all():
        for part in _parts(len(weights), basis.shape[0]):
            blank[part] = _solve(basis, sample.label, weights[part], blank[0])
    return blank


def _parts(draws: int, cells: int) -> Iterator[slice]:
    """Slices of the resamples after the first that keep the working arrays small."""
    width = max(1, _CELLS_AT_ONCE // cells)
    for begin in range(1, draws, width):
        yield slice(begin, min(begin + width, draws))


def _solve(basis: Floats, label: Floats, weights: Floats, start: Floats) -> Floats:
    """Newton's method for many weighted regressions at once (weights: resamples x n); NaN without convergence.

    With this link the log-likelihood is concave: an event adds log(1 - exp(-h)), another patient -h, h being the
    exponential of the linear predictor.
    """
    columns, repeats = basis.shape[1], basis.shape[0] // label.size
    groups = []
    for chosen in (label == 1, (label == 0) & (weights > 0).any(axis=0)):
        rows = np.repeat(chosen, repeats)
        products = (basis[rows][:, :, None] * basis[rows][:, None, :]).reshape(int(rows.sum()), -1)
        groups.append((basis[rows], products, np.repeat(weights[:, chosen], repeats, axis=1)))
    beta = np.repeat(start[None, :], len(weights), axis=0)
    todo = np.arange(len(weights))
    for _ in range(40):
        (cases, case_products, case_weight), (others, other_products, other_weight) = groups
        hazard = np.exp(np.clip(beta[todo] @ cases.T, *_LINEAR))
        free = np.exp(-hazard)
        odds = case_weight[todo] * hazard * free / (1.0 - free)
        spread = odds * (hazard - (1.0 - free)) / (1.0 - free)
        calm = other_weight[todo] * np.exp(np.clip(beta[todo] @ others.T, *_LINEAR))
        score = odds @ cases - calm @ others
        information = (spread @ case_products + calm @ other_products).reshape(-1, columns, columns)
        # Keeps a singular matrix solvable and does not move the solution, at which the score is 0.
        ridge = np.maximum(1e-10 * np.trace(information, axis1=1, axis2=2), 1e-12)[:, None, None] * np.eye(columns)
        step = np.clip(np.linalg.solve(information + ridge, score[:, :, None])[:, :, 0], -_LARGEST_STEP, _LARGEST_STEP)
        beta[todo] += step
        todo = todo[np.abs(step).max(axis=1) >= 1e-7]
        if not todo.size:
            return beta
    beta[todo] = np.nan
    return beta


def _diagonal_is_possible(coefficients: Floats, knots: Floats, level: float) -> bool:
    """Whether the curve of a perfect model is compatible with the resampled coefficients."""
    finite = coefficients[1:][np.isfinite(coefficients[1:]).all(axis=1)]
    perfect = np.zeros(coefficients.shape[1])
    perfect[min(len(knots), 1)] = 1.0 if len(knots) else level
    distance = coefficients[0] - perfect
    if len(finite) <= distance.size:
        return False
    covariance = np.atleast_2d(np.cov(finite.T))
    wald = float(distance @ np.linalg.pinv(covariance, hermitian=True) @ distance)
    return wald <= float(stats.chi2.ppf(0.95, distance.size))


def _with_floor(estimate: Estimate, floor: float) -> Estimate:
    return Estimate(estimate.value, float(np.minimum(estimate.lower, min(floor, estimate.value))), estimate.upper)


def _distances(counts: Floats, probability: Floats, coefficients: Floats, knots: Floats) -> Floats:
    """ICI, E50 and E90 (rows) in the sample and its resamples."""
    basis = spline_basis(cloglog(probability.ravel()), knots)
    n, repeats = probability.shape
    # The smallest distance that the share of the patients does not exceed.
    places = [int(np.ceil(share * n * repeats - 1e-9)) - 1 for share in (0.5, 0.9)]
    found = np.full((3, len(counts)), np.nan)
    for part in [slice(0, 1), *_parts(len(counts), len(basis))]:
        far = np.abs(_incidence(coefficients[part] @ basis.T) - probability.ravel()).reshape(-1, n, repeats)
        patients = np.tile(np.arange(n), len(far))
        drawn = np.repeat(patients, counts[part].ravel().astype(np.intp)).reshape(len(far), n)
        distances = np.take_along_axis(far, drawn[:, :, None], axis=1).reshape(len(far), -1)
        found[0, part] = distances.mean(axis=1)
        found[1:, part] = np.partition(distances, places, axis=1)[:, places].T
    return found
