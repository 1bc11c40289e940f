"""Elastic-net problems: a smooth convex loss + l1 * |beta|_1 + l2 / 2 * |beta|^2.

Proximal Newton: the loss is replaced by its quadratic model on the inputs that matter, the model is minimised exactly
by feature-sign search, and a line search keeps the steps honest. It ends when the optimality conditions hold to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.risk import logistic

_MAX_STEPS = 200
_TOLERANCE = 1e-9
# Of the mean curvature: keeps a step finite where inputs are collinear, and moves no optimum.
_JITTER = 1e-9


class SmoothLoss(Protocol):
    """A loss at one linear predictor."""

    @property
    def value(self) -> float:
        """Loss."""

    @property
    def residual(self) -> Floats:
        """Derivative by the linear predictor of each row."""

    def hessian(self, X: Floats) -> Floats:
        """Second derivative by the coefficients of n x p inputs."""


@dataclass(frozen=True, eq=False)
class LogLoss:
    """Weighted mean log loss at one linear predictor; ``weight`` sums to 1."""

    label: Floats
    weight: Floats
    linear: Floats

    @property
    def value(self) -> float:
        """Loss."""
        return float(self.weight @ (np.logaddexp(0.0, self.linear) - self.label * self.linear))

    @property
    def residual(self) -> Floats:
        """Derivative by the linear predictor of each row."""
        return self.weight * (logistic(self.linear) - self.label)

    def hessian(self, X: Floats) -> Floats:
        """Second derivative by the coefficients."""
        p = logistic(self.linear)
        return np.asarray((X * (self.weight * p * (1.0 - p))[:, None]).T @ X)


def fit_elastic_net(
    loss: Callable[[Floats], SmoothLoss], X: Floats, l1: Floats, l2: Floats, *, start: Floats | None = None
) -> Floats:
    """Coefficients that minimise the penalised loss.

    Parameters
    ----------
    loss
        Makes the loss at a linear predictor of n rows.
    X
        n x p, finite.
    l1, l2
        Penalties of each coefficient, >= 0.
    start
        Coefficients to start from (those of a neighbouring penalty save work); zeros by default.

    Raises
    ------
    InputError
        If it does not converge.
    """
    beta = np.zeros(X.shape[1]) if start is None else np.array(start, dtype=float)
    point = loss(X @ beta)
    gap = np.inf
    for _ in range(_MAX_STEPS):
        gradient = X.T @ point.residual + l2 * beta
        violation = np.where(beta == 0.0, np.maximum(np.abs(gradient) - l1, 0.0), np.abs(gradient + l1 * np.sign(beta)))
        gap = float(violation.max(initial=0.0))
        if gap < _TOLERANCE:
            return beta
        matters = _working_set(beta, violation, X.shape[0])
        inputs, old = X[:, matters], beta[matters]
        hessian = point.hessian(inputs) + np.diag(l2[matters])
        hessian += _JITTER * max(float(np.trace(hessian)) / len(old), 1e-12) * np.eye(len(old))
        new = minimise_quadratic(hessian, hessian @ old - gradient[matters], l1[matters], old)
        beta, point = _search(loss, X, beta, point, matters, new - old, gradient[matters], l1, l2)
    raise InputError("the elastic net does not converge", got=f"a gap of {gap:.2g}")


def _working_set(beta: Floats, violation: Floats, n: int) -> np.ndarray:
    """Inputs of the next step: those in the model, and of the others the n that ask for it most."""
    outside = np.flatnonzero((beta == 0.0) & (violation > 0.0))
    if outside.size > n:
        outside = outside[np.argsort(-violation[outside], kind="stable")[:n]]
    return np.sort(np.concatenate((np.flatnonzero(beta != 0.0), outside)))


def _search(
    loss: Callable[[Floats], SmoothLoss], X: Floats, beta: Floats, point: SmoothLoss, matters: np.ndarray,
    direction: Floats, gradient: Floats, l1: Floats, l2: Floats,
) -> tuple[Floats, SmoothLoss]:  # fmt: skip
    """The first of the halved steps that lowers the penalised loss as much as its slope promises."""
    value = point.value + _penalty(beta, l1, l2)
    promised = gradient @ direction + l1[matters] @ (np.abs(beta[matters] + direction) - np.abs(beta[matters]))
    size = 1.0
    while size > 1e-10:
        candidate = beta.copy()
        candidate[matters] += size * direction
        new = loss(X @ candidate)
        # The slack admits steps lost in rounding close to the optimum.
        if new.value + _penalty(candidate, l1, l2) <= value + 1e-4 * size * promised + 1e-12 * (1.0 + abs(value)):
            return candidate, new
        size /= 2.0
    raise InputError("the elastic net does not converge", got="no step lowers the loss")


def _penalty(beta: Floats, l1: Floats, l2: Floats) -> float:
    return float(l1 @ np.abs(beta) + 0.5 * (l2 @ beta**2))


def minimise_quadratic(Q: Floats, c: Floats, l1: Floats, start: Floats) -> Floats:
    """Minimum of v'Qv / 2 - c'v + l1'|v| by feature-sign search; Q is positive definite.

    Coefficients with ``l1 = 0`` are never left out. Each round solves for the coefficients in use with their signs
    held, goes there as far as the objective falls, and lets in the one that would lower it most.

    References
    ----------
    Lee, Battle, Raina, Ng 2006, Efficient sparse coding algorithms (NIPS 19).
    """
    v = np.array(start, dtype=float)
    free = l1 == 0.0
    used = (v != 0.0) | free
    sign = np.sign(v)
    tolerance = 1e-3 * _TOLERANCE
    for _ in range(50 + 10 * v.size):
        a = np.flatnonzero(used)
        target = np.linalg.solve(Q[np.ix_(a, a)], c[a] - l1[a] * sign[a]) if a.size else np.empty(0)
        v[a], whole = _towards(Q[np.ix_(a, a)], c[a], l1[a], v[a], target)
        used = (v != 0.0) | free
        sign = np.sign(v)
        if not whole:
            continue
        slope = Q @ v - c
        excess = np.where(used, 0.0, np.abs(slope) - l1)
        worst = int(np.argmax(excess))
        if excess[worst] <= tolerance:
            break
        used[worst], sign[worst] = True, -np.sign(slope[worst])
    return v


def _towards(Q: Floats, c: Floats, l1: Floats, old: Floats, target: Floats) -> tuple[Floats, bool]:
    """The best point on the way among the target and where coefficients cross zero, and whether it is the target."""
    crossing = (old * target < 0.0) & (l1 > 0.0)
    if not crossing.any():
        return target, True
    fraction = np.append(old[crossing] / (old[crossing] - target[crossing]), 1.0)
    points = old + fraction[:, None] * (target - old)
    points[np.arange(fraction.size - 1), np.flatnonzero(crossing)] = 0.0
    values = 0.5 * np.einsum("ij,ij->i", points @ Q, points) - points @ c + np.abs(points) @ l1
    best = int(np.argmin(values))
    return points[best], best == fraction.size - 1
