"""How far a patient lies from those of the training, among the inputs that the learner reads.

A Mahalanobis distance with a shrunk covariance, in the inputs as the learner gets them: imputed, standardised,
selected. Where there are many, it is exact in the directions in which patients vary most, and the rest counts as one.

References
----------
Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4 (covariance). Lee et al. 2018, arXiv:1807.03888 (distance for
novelty). Pickands 1975, doi:10.1214/aos/1176343003 (tail above a threshold).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiomics_crlm.evaluation.outcome import Floats

FLAGGED = 0.01
"""Share of patients like those of the training that lies beyond the limit, about."""
FEWEST = 30
"""Patients below whom novelty is not judged."""
_FOLDS = 10
# The tail is fitted to as many of the most distant patients, at least, so that none of them can be read from it.
_FEWEST_IN_TAIL = 10
_TAIL = 0.05


@dataclass(frozen=True)
class NoveltyFit:
    """Location, directions over their standard deviation (k x inputs), variances (k), variance of what lies outside of
    the directions (None if nothing does), and the squared distance beyond which a patient is new.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    residual: float | None
    limit: float = np.inf


def squared_distance(inputs: Floats, fit: NoveltyFit) -> Floats:
    """Squared distance of each of n rows of learner inputs.

    Summed input by input, not by a matrix product: a row must not depend on how many others there are.
    """
    centred = [np.ascontiguousarray(inputs[:, j]) - fit.mean[j] for j in range(fit.mean.size)]
    squared, within = np.zeros(len(inputs)), np.zeros(len(inputs))
    step, part = np.empty(len(inputs)), np.empty(len(inputs))
    for direction, variance in zip(fit.directions, fit.variances, strict=True):
        step[:] = 0.0
        for weight, column in zip(direction, centred, strict=True):
            if weight:
                np.multiply(column, weight, out=part)
                step += part
        step *= step
        squared += step
        if fit.residual is not None:
            within += step * variance
    if fit.residual is not None:
        length = np.zeros(len(inputs))
        for column in centred:
            length += column * column
        squared += np.maximum(length - within, 0.0) / fit.residual
    return squared


def fit_novelty(inputs: Floats, *, most_directions: int, seed: int) -> NoveltyFit | None:
    """Where training patients lie, and how far out a new one may.

    Parameters
    ----------
    inputs
        n x p: learner inputs of the training patients, finite.
    most_directions
        Directions that are kept, at most.
    seed
        Of the ten parts in which distances are measured: each to the location and covariance of the other nine.

    Returns
    -------
    NoveltyFit
        With a limit beyond which about 1 % of such patients lie: the tail of the distances of patients that were left
        out is taken to be exponential (exact for normal inputs as they get many, too short for heavy tails). None for
        fewer than 30 patients.
    """
    rows = len(inputs)
    if rows < FEWEST or inputs.shape[1] == 0:
        return None
    part = np.random.default_rng(seed).permutation(rows) % _FOLDS
    left_out = np.empty(rows)
    for fold in range(_FOLDS):
        test = part == fold
        left_out[test] = squared_distance(inputs[test], _fit(inputs[~test], most_directions))
    whole = _fit(inputs, most_directions)
    return NoveltyFit(whole.mean, whole.directions, whole.variances, whole.residual, tail_limit(left_out, FLAGGED))


def tail_limit(distances: Floats, share: float) -> float:
    """Distance that a share of patients exceeds: exponential beyond the most distant twentieth (ten at least).

    >>> generator = np.random.default_rng(0)
    >>> bool(abs(tail_limit(generator.exponential(size=2000), 0.01) - np.log(100)) < 0.3)
    True
    """
    tail = max(_TAIL, _FEWEST_IN_TAIL / len(distances))
    start = float(np.quantile(distances, 1.0 - tail))
    beyond = distances[distances > start]
    excess = float(beyond.mean() - start) if beyond.size else 0.0
    return max(start + excess * float(np.log(tail / share)), 1e-6)


def _fit(inputs: Floats, most_directions: int) -> NoveltyFit:
    from sklearn.covariance import ledoit_wolf  # training only: whoever scores does without

    covariance, _ = ledoit_wolf(inputs)
    variances, vectors = np.linalg.eigh(np.asarray(covariance))
    # Constant inputs of a fold leave directions without variance; a floor keeps the distance finite.
    variances = np.maximum(variances, 1e-6 * max(float(variances.max()), 1e-12))
    order = np.argsort(variances)[::-1]
    kept, rest = order[:most_directions], order[most_directions:]
    # Eigenvectors have no sign of their own: the largest entry is positive.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    directions = (vectors * signs)[:, kept].T / np.sqrt(variances[kept])[:, None]
    residual = float(variances[rest].mean()) if rest.size else None
    return NoveltyFit(inputs.mean(axis=0), directions, variances[kept], residual)
