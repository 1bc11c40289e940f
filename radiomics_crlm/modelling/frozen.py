"""A fitted pipeline as plain numbers.

A frozen model reproduces its pipeline bit for bit with numpy alone (and xgboost, where there are trees): scikit-learn
is not imported, and nothing is executed from the stored state, which is validated strictly. It holds no patient rows
and no keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.columns import ColumnSpec, encode, input_names
from radiomics_crlm.modelling.frozen_state import (
    FORMAT,
    baseline_of,
    forest_of_state,
    forest_state,
    log_time_of,
    read_state,
)
from radiomics_crlm.modelling.log_time import LogTime, time_probability
from radiomics_crlm.modelling.risk import (
    REPORT_MONTHS,
    Baseline,
    cumulative_incidence,
    linear_risk,
    probability_at_horizon,
)
from radiomics_crlm.modelling.trees import Forest, spoken

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from sklearn.utils import Bunch

MISSING_SUFFIX = " (missing)"


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """A fitted model without its fitting library. Make it with :func:`freeze` or :meth:`from_state`.

    Parameters
    ----------
    columns
        What it reads.
    horizon
        Months of a binary model; None for time to event.
    fill
        Value for each encoded input where it is missing.
    indicators
        Encoded inputs that have a missingness indicator, appended in this order.
    selected
        Positions used, in the order of the learner.
    mean, scale
        Standardisation of the selected.
    coefficients, intercept, input_mean
        Linear predictor, and mean of the training inputs (the point attributions refer to); None for trees.
    baseline
        Hazards, for time to event.
    booster
        Boosted trees as JSON, or None.
    log_time
        Distribution of the logarithm of the time, where that is what the boosted trees give.
    forest, months, output
        Grown trees; the times of their outputs, and the output that is the risk.
    """

    columns: tuple[ColumnSpec, ...]
    horizon: float | None
    fill: Floats
    indicators: np.ndarray
    selected: np.ndarray
    mean: Floats
    scale: Floats
    coefficients: Floats | None
    intercept: float
    input_mean: Floats | None
    baseline: Baseline | None
    booster: bytes | None
    log_time: LogTime | None = None
    forest: Forest | None = None
    months: tuple[float, ...] = ()
    output: int = 0

    def __post_init__(self) -> None:
        trees = None
        if self.booster is not None:
            from radiomics_crlm.modelling.boosting import booster_from_json  # xgboost only where there are trees

            trees = booster_from_json(self.booster, inputs=self.selected.size)
        object.__setattr__(self, "_trees", trees)

    @property
    def learner(self) -> str:
        """Its form: ``linear``, ``xgboost`` or ``forest``."""
        if self.forest is not None:
            return "forest"
        return "linear" if self.booster is None else "xgboost"

    def speaks_at(self, month: float) -> bool:
        """Whether there is a probability at this time (for a binary model: whatever its endpoint asks)."""
        if self.horizon is not None:
            return True
        if self.forest is not None:
            return month in self.months
        limit = self.log_time if self.baseline is None else self.baseline
        return limit is not None and month <= limit.last_month

    def input_names(self) -> list[str]:
        """Names of the learner inputs, in order."""
        names = input_names(self.columns)
        names += [names[position] + MISSING_SUFFIX for position in self.indicators]
        return [names[position] for position in self.selected]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Learner inputs (imputed, standardised, selected) of n rows; the index is that of ``X``.

        Raises
        ------
        InputError
            As ``columns.encode``.
        """
        encoded = encode(X, self.columns)
        missing = np.isnan(encoded)
        full = np.hstack((np.where(missing, self.fill, encoded), missing[:, self.indicators].astype(float)))
        inputs = (full[:, self.selected] - self.mean) / self.scale
        return pd.DataFrame(np.ascontiguousarray(inputs), index=X.index, columns=self.input_names())

    def values(self, X: pd.DataFrame) -> pd.DataFrame:
        """The same inputs in the unit of their columns, for showing: not logged, not standardised, missing left NaN."""
        encoded = encode(X, self.columns, logs=False)
        full = np.hstack((encoded, np.isnan(encoded)[:, self.indicators].astype(float)))
        return pd.DataFrame(full[:, self.selected], index=X.index, columns=self.input_names())

    def risk(self, X: pd.DataFrame) -> Floats:
        """Risk of n rows; higher = event more likely or sooner.

        Log odds at the horizon, log hazard ratio, minus the mean logarithm of the time; of a forest the probability.
        """
        return self._risk(self.transform(X).to_numpy())

    def probability(self, X: pd.DataFrame, months: Sequence[float] = REPORT_MONTHS) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN where the model does not speak."""
        return self.predictions(self.transform(X), months)[1]

    def predictions(self, inputs: pd.DataFrame, months: Sequence[float] = REPORT_MONTHS) -> tuple[Floats, Floats]:
        """:meth:`risk` and :meth:`probability` of learner inputs (n rows of :meth:`transform`), computed in one go."""
        values = inputs.to_numpy()
        if self.forest is not None:
            predicted = self.forest.predict(values)
            return predicted[:, self.output], spoken(self.months, predicted, months)
        risk = self._risk(values)
        if self.horizon is not None:
            return risk, probability_at_horizon(risk, self.horizon, months)
        if self.log_time is not None:
            return risk, time_probability(self.log_time, risk, months)
        assert self.baseline is not None  # noqa: S101 - guaranteed by the state
        return risk, cumulative_incidence(self.baseline, risk, months)

    def contributions(self, X: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Exact SHAP values of n rows (n x inputs) and their base value (n); together they sum to the risk.

        Linear: coefficient x (input - training mean). Trees: TreeSHAP, of boosted ones in float32.
        """
        inputs = self.transform(X)
        if self.forest is not None:
            values, centre = self.forest.contributions(inputs.to_numpy(), self.output)
            base = np.full(len(X), centre)
        elif self.coefficients is not None and self.input_mean is not None:
            values = self.coefficients * (inputs.to_numpy() - self.input_mean)
            centre = float(linear_risk(self.input_mean[None, :], self.coefficients, self.intercept)[0])
            base = np.full(len(X), centre)
        else:
            from radiomics_crlm.modelling.boosting import contributions

            values, base = contributions(self._trees, inputs.to_numpy())  # type: ignore[attr-defined]
            values, base = self._sign * values, self._sign * base
        return pd.DataFrame(values, index=X.index, columns=inputs.columns), base

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and names, ready for JSON (floats survive exactly); the trees are apart, in ``booster``."""
        baseline, optional = self.baseline, {}
        if self.log_time is not None:
            optional["log_time"] = asdict(self.log_time)
        if self.forest is not None:
            optional["forest"] = forest_state(self.forest, self.months, self.output)
        return {
            "format": FORMAT,
            "learner": self.learner,
            "horizon_months": self.horizon,
            "columns": [
                {"name": c.name, "kind": c.kind, "categories": list(c.categories), "log": c.log} for c in self.columns
            ],
            "fill": self.fill.tolist(),
            "indicators": self.indicators.tolist(),
            "selected": self.selected.tolist(),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "coefficients": None if self.coefficients is None else self.coefficients.tolist(),
            "intercept": self.intercept,
            "input_mean": None if self.input_mean is None else self.input_mean.tolist(),
            "baseline": None
            if baseline is None
            else {
                "months": baseline.months.tolist(),
                "event": baseline.event.tolist(),
                "competing": baseline.competing.tolist(),
                "last_month": baseline.last_month,
            },
            **optional,
        }

    @classmethod
    def from_state(cls, state: Any, booster: bytes | None = None) -> FrozenModel:
        """A model from :meth:`to_state` and its trees.

        Raises
        ------
        InputError
            As :func:`frozen_state.read_state`, and for missing or surplus boosted trees.
        """
        checked = read_state(state)
        if (booster is not None) != (checked.learner == "xgboost"):
            raise InputError("trees and learner do not fit together", where="model state", got=checked.learner)
        return cls(
            columns=checked.specs(),
            horizon=checked.horizon_months,
            fill=np.array(checked.fill, dtype=float),
            indicators=np.array(checked.indicators, dtype=int),
            selected=np.array(checked.selected, dtype=int),
            mean=np.array(checked.mean, dtype=float),
            scale=np.array(checked.scale, dtype=float),
            coefficients=None if checked.coefficients is None else np.array(checked.coefficients, dtype=float),
            intercept=checked.intercept,
            input_mean=None if checked.input_mean is None else np.array(checked.input_mean, dtype=float),
            baseline=baseline_of(checked),
            booster=booster,
            log_time=log_time_of(checked),
            forest=forest_of_state(checked),
            months=() if checked.forest is None else tuple(checked.forest.months),
            output=0 if checked.forest is None else checked.forest.output,
        )

    def _risk(self, inputs: Floats) -> Floats:
        if self.forest is not None:
            return self.forest.predict(inputs)[:, self.output]
        if self.coefficients is not None:
            return linear_risk(inputs, self.coefficients, self.intercept)
        from radiomics_crlm.modelling.boosting import margins

        return self._sign * margins(self._trees, inputs)  # type: ignore[attr-defined]

    @property
    def _sign(self) -> float:
        """Of the margin of boosted trees in the risk: a longer time is a lower risk."""
        return 1.0 if self.log_time is None else -1.0


def freeze(pipeline: Pipeline) -> FrozenModel:
    """Numbers of a fitted pipeline of :mod:`radiomics_crlm.modelling.train`.

    Raises
    ------
    ConfigError
        If the pipeline has other steps or is not fitted.
    """
    steps = pipeline.named_steps
    expected = ["encode", "impute", "filter", "scale", "learner"]
    if [name for name in steps if name not in ("stable", "select")] != expected:
        raise ConfigError("this pipeline cannot be frozen", expected=", ".join(expected), got=", ".join(steps))
    learner = steps["learner"]
    if not {"coef_", "booster_", "forest_"} & set(vars(learner)):
        if learner.not_deliverable:
            raise ConfigError("this learner cannot be frozen", where="learner", got=learner.not_deliverable)
        raise ConfigError("this pipeline is not fitted", where="learner")
    scale = steps["scale"]
    chosen = steps["select"].selected_ if "select" in steps else np.arange(scale.mean_.size)
    fill, indicators, selected = _positions(steps)
    trees = None
    if hasattr(learner, "booster_"):
        from radiomics_crlm.modelling.boosting import booster_to_json

        trees = booster_to_json(learner.booster_)
    horizon = None if getattr(learner, "horizon", None) is None else float(learner.horizon)
    return FrozenModel(
        columns=tuple(steps["encode"].columns),
        horizon=horizon,
        fill=fill,
        indicators=indicators,
        selected=selected[chosen],
        mean=scale.mean_[chosen],
        scale=scale.scale_[chosen],
        coefficients=getattr(learner, "coef_", None),
        intercept=float(getattr(learner, "intercept_", 0.0)),
        input_mean=getattr(learner, "input_mean_", None),
        baseline=getattr(learner, "baseline_", None),
        booster=trees,
        log_time=getattr(learner, "time_", None),
        forest=getattr(learner, "forest_", None),
        months=() if not hasattr(learner, "forest_") else learner.months_,
        output=getattr(learner, "output_", 0),
    )


def _positions(steps: Bunch) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Fill values of the encoded inputs, those with a missingness indicator, and the filtered ones of both.

    A step that drops inputs before imputation renumbers them; a frozen model counts the encoded inputs throughout.
    """
    count = len(input_names(steps["encode"].columns))
    kept = np.asarray(steps["stable"].selected_ if "stable" in steps else np.arange(count), dtype=int)
    fill = np.zeros(count)
    fill[kept] = steps["impute"].statistics_
    flagged = np.asarray(steps["impute"].indicator_.features_, dtype=int)
    every = np.concatenate((kept, count + np.arange(flagged.size)))
    return fill, kept[flagged], every[np.asarray(steps["filter"].selected_, dtype=int)]
