"""Clinical and radiomic inputs apart, each with a ridge model of its own, and how the two are combined.

Late fusion takes the mean of the two standardised predictors; stacking learns weights from predictions for patients
whom the parts did not see. All that is learned is learned from the rows given to ``fit``. Both end as one linear
predictor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats, Outcome, check_outcome, horizon_labels
from radiomics_crlm.modelling.columns import Block
from radiomics_crlm.modelling.cox import risk_sets
from radiomics_crlm.modelling.inner_folds import draw_inner_folds, stratum
from radiomics_crlm.modelling.learner import canonical_order, check_positive
from radiomics_crlm.modelling.linear import AtHorizon, Hazard, LinearLearner, RidgeLogistic, ridge_hazard
from radiomics_crlm.modelling.risk import breslow_baseline, by_whole_months, linear_risk, logistic

_EVERYBODY = -1
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class _Part:
    """Linear predictor of one block, centred: coefficients by position, mean and spread over the rows it is used on."""

    positions: np.ndarray
    coefficients: Floats
    mean: Floats

    def predictor(self, X: Floats) -> Floats:
        return linear_risk(X[:, self.positions] - self.mean, self.coefficients, 0.0)


_Memo = dict[tuple[Any, ...], _Part]


class _Fusion(LinearLearner):
    """Parts by block; ``weights_`` are the factors of the predictors of the parts."""

    horizon: float | None
    penalty: float
    penalty_radiomics: float
    blocks: tuple[Block, ...] | None

    @classmethod
    def risks_of(cls, candidates: Sequence[Any], X: Floats, y: Outcome, X_test: Floats) -> list[Floats]:
        """Risk of test rows from each candidate; a part is fitted once for all that have it."""
        memo: _Memo = {}
        return [cls(**candidate.get_params())._fit(X, y, memo).risk(X_test) for candidate in candidates]

    def fit(self, X: Floats, y: Outcome) -> Self:
        """Fit on n x p inputs."""
        return self._fit(X, y, {})

    def _fit(self, X: Floats, y: Outcome, memo: _Memo) -> Self:
        X = self._training(X, y, getattr(self, "horizon", None))
        check_positive(penalty=self.penalty, penalty_radiomics=self.penalty_radiomics)
        order = canonical_order(X, y)
        X, y = X[order], y[order]
        parts = [self._part(block, X, y, _EVERYBODY, np.arange(len(X)), memo) for block in self._present(X.shape[1])]
        self.weights_, intercept = self._combine(parts, X, y, memo)
        coefficients = np.zeros(X.shape[1])
        for weight, part in zip(self.weights_, parts, strict=True):
            coefficients[part.positions] = weight * part.coefficients
            intercept -= weight * float(part.coefficients @ part.mean)
        self._set(coefficients, intercept, X)
        self._calibrate(X, y)
        return self

    def _present(self, inputs: int) -> list[Block]:
        """Blocks that have an input; without a declaration all inputs are of one block."""
        if self.blocks is None:
            return ["clinical"]
        if len(self.blocks) != inputs or not set(self.blocks) <= set(get_args(Block)):
            raise InputError("blocks and inputs do not fit together", expected=f"{inputs} blocks", where="learner")
        return [block for block in get_args(Block) if block in self.blocks]

    def _part(self, block: Block, X: Floats, y: Outcome, fold: int, rows: np.ndarray, memo: _Memo) -> _Part:
        penalty = self.penalty if block == "clinical" else self.penalty_radiomics
        key = (fold, block, penalty, self.blocks, getattr(self, "folds", None), getattr(self, "seed", None))
        if key not in memo:
            here = [name == block for name in self.blocks] if self.blocks is not None else [True] * X.shape[1]
            positions = np.flatnonzero(here)
            inputs = X[np.ix_(rows, positions)]
            memo[key] = _Part(positions, self._coefficients(inputs, y[rows], penalty), inputs.mean(axis=0))
        return memo[key]

    def _coefficients(self, X: Floats, y: Outcome, penalty: float) -> Floats:
        raise NotImplementedError

    def _combine(self, parts: list[_Part], X: Floats, y: Outcome, memo: _Memo) -> tuple[Floats, float]:
        """Weights of the parts' predictors, and intercept."""
        raise NotImplementedError

    def _calibrate(self, X: Floats, y: Outcome) -> None:
        raise NotImplementedError


class _LabelParts(AtHorizon, _Fusion):
    horizon: float

    def _coefficients(self, X: Floats, y: Outcome, penalty: float) -> Floats:
        return RidgeLogistic(self.horizon, penalty).fit(X, y).coef_

    def _calibrate(self, X: Floats, y: Outcome) -> None:
        """The intercept at which the mean probability is the observed incidence."""
        label, weight = horizon_labels(y, self.horizon)
        linear, target = linear_risk(X, self.coef_, 0.0), float(weight @ label / weight.sum())
        intercept = float(np.log(target / (1.0 - target)) - weight @ linear / weight.sum())
        for _ in range(100):
            p = logistic(linear + intercept)
            step = float((weight @ p / weight.sum() - target) / (weight @ (p * (1.0 - p)) / weight.sum()))
            intercept -= float(np.clip(step, -2.0, 2.0))
            if abs(step) < 1e-12:
                break
        self.intercept_ = intercept


class _HazardParts(Hazard, _Fusion):
    def _coefficients(self, X: Floats, y: Outcome, penalty: float) -> Floats:
        return ridge_hazard(X, risk_sets(y), penalty)

    def _calibrate(self, X: Floats, y: Outcome) -> None:
        self.baseline_ = by_whole_months(breslow_baseline(y, linear_risk(X, self.coef_, self.intercept_)))


class _Mean(_Fusion):
    def _combine(self, parts: list[_Part], X: Floats, y: Outcome, memo: _Memo) -> tuple[Floats, float]:  # noqa: ARG002
        spread = np.array([float(part.predictor(X).std()) for part in parts])
        used = spread > _CONSTANT
        if not used.any():
            return np.zeros(len(parts)), 0.0
        # On the scale of a log odds or log hazard: as wide as the parts are on average.
        width = spread[used].mean() / used.sum()
        return np.divide(width, spread, out=np.zeros(len(parts)), where=used), 0.0


class _Stacked(_Fusion):
    penalty_stack: float
    folds: int
    seed: int

    def _combine(self, parts: list[_Part], X: Floats, y: Outcome, memo: _Memo) -> tuple[Floats, float]:
        """Ridge, without negative weights, on the standardised predictions for patients the parts did not see."""
        check_positive(penalty_stack=self.penalty_stack)
        horizon = getattr(self, "horizon", None)
        if not self.folds >= 2:
            raise InputError("a learner setting is out of range", where="folds", expected=">= 2", got=str(self.folds))
        check_outcome(y, horizon=horizon, min_events=2, where="stacking")
        inner = draw_inner_folds(stratum(y, horizon), self.folds, np.random.default_rng(self.seed))
        blocks = self._present(X.shape[1])
        unseen = np.empty((len(X), len(parts)))
        for fold in np.unique(inner):
            train, test = np.flatnonzero(inner != fold), np.flatnonzero(inner == fold)
            for column, block in enumerate(blocks):
                unseen[test, column] = self._part(block, X, y, int(fold), train, memo).predictor(X[test])
        mean, spread = unseen.mean(axis=0), unseen.std(axis=0)
        used = np.flatnonzero(spread > _CONSTANT)
        weights = np.zeros(len(parts))
        while used.size:
            weights[:] = 0.0
            weights[used] = self._coefficients((unseen - mean)[:, used] / spread[used], y, self.penalty_stack)
            if (weights >= 0).all():
                break
            used = used[weights[used] > 0]
        weights = np.maximum(weights, 0.0)
        return np.divide(weights, spread, out=np.zeros(len(parts)), where=weights > 0), 0.0


class LateFusionLogistic(_Mean, _LabelParts):
    """Mean of the standardised log odds of a clinical and a radiomic ridge model of the label at a horizon.

    Each part is standardised on the training rows, and the mean has the average spread of the parts; the intercept
    makes the mean probability that of the training rows. A part without inputs, or that is constant, is left out.

    Parameters
    ----------
    horizon
        Months.
    penalty, penalty_radiomics
        Ridge penalty per patient of each part, > 0.
    blocks
        ``clinical`` or ``radiomics`` for each input; None: all are of one block.
    """

    def __init__(
        self, horizon: float, penalty: float = 0.3, penalty_radiomics: float = 0.3,
        blocks: tuple[Block, ...] | None = None,
    ) -> None:  # fmt: skip
        self.horizon = horizon
        self.penalty = penalty
        self.penalty_radiomics = penalty_radiomics
        self.blocks = blocks


class LateFusionCox(_Mean, _HazardParts):
    """Mean of the standardised log hazards of a clinical and a radiomic ridge Cox model; see
    :class:`LateFusionLogistic`.

    Parameters
    ----------
    penalty, penalty_radiomics
        Ridge penalty per patient of each part, > 0.
    blocks
        ``clinical`` or ``radiomics`` for each input; None: all are of one block.
    """

    def __init__(
        self, penalty: float = 0.3, penalty_radiomics: float = 0.3, blocks: tuple[Block, ...] | None = None
    ) -> None:
        self.penalty = penalty
        self.penalty_radiomics = penalty_radiomics
        self.blocks = blocks


class StackingLogistic(_Stacked, _LabelParts):
    """Ridge logistic regression on the log odds of a clinical and a radiomic ridge model for patients unseen by them.

    The weights come from folds inside the training rows and are never negative; the parts are then fitted on all rows.

    Parameters
    ----------
    horizon
        Months.
    penalty, penalty_radiomics
        Ridge penalty per patient of each part, > 0.
    blocks
        ``clinical`` or ``radiomics`` for each input; None: all are of one block.
    penalty_stack
        Ridge penalty of the weights of the standardised parts.
    folds, seed
        Folds inside the training rows.

    References
    ----------
    Breiman 1996, doi:10.1007/BF00117832.
    """

    def __init__(
        self, horizon: float, penalty: float = 0.3, penalty_radiomics: float = 0.3,
        blocks: tuple[Block, ...] | None = None, penalty_stack: float = 0.03, folds: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        self.horizon = horizon
        self.penalty = penalty
        self.penalty_radiomics = penalty_radiomics
        self.blocks = blocks
        self.penalty_stack = penalty_stack
        self.folds = folds
        self.seed = seed


class StackingCox(_Stacked, _HazardParts):
    """Ridge Cox regression on the log hazards of a clinical and a radiomic ridge Cox model for patients unseen by them;
    see :class:`StackingLogistic`.

    Parameters
    ----------
    penalty, penalty_radiomics
        Ridge penalty per patient of each part, > 0.
    blocks
        ``clinical`` or ``radiomics`` for each input; None: all are of one block.
    penalty_stack
        Ridge penalty of the weights of the standardised parts.
    folds, seed
        Folds inside the training rows.
    """

    def __init__(
        self, penalty: float = 0.3, penalty_radiomics: float = 0.3, blocks: tuple[Block, ...] | None = None,
        penalty_stack: float = 0.03, folds: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        self.penalty = penalty
        self.penalty_radiomics = penalty_radiomics
        self.blocks = blocks
        self.penalty_stack = penalty_stack
        self.folds = folds
        self.seed = seed
