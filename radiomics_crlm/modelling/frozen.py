"""A fitted pipeline as plain numbers.

A frozen model reproduces its pipeline bit for bit with numpy alone (and xgboost, where there are trees): scikit-learn
is not imported, and nothing is executed from the stored state, which is validated strictly. It holds no patient rows
and no keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.modelling.columns import ColumnSpec, check_columns, encode, input_names
from radiomics_crlm.modelling.risk import (
    REPORT_MONTHS,
    Baseline,
    cumulative_incidence,
    linear_risk,
    probability_at_horizon,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from sklearn.utils import Bunch

FORMAT = 1
"""Raised when a state written before could be read wrongly afterwards."""
MISSING_SUFFIX = " (missing)"

Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Position = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _ColumnState(_Strict):
    name: str
    kind: Literal["number", "boolean", "category"]
    categories: list[str]
    log: bool


class _BaselineState(_Strict):
    months: list[NotNegative]
    event: list[NotNegative]
    competing: list[NotNegative]
    last_month: NotNegative

    @model_validator(mode="after")
    def _aligned(self) -> _BaselineState:
        if not len(self.months) == len(self.event) == len(self.competing):
            raise ValueError("hazards and months have different lengths")
        if any(later <= earlier for earlier, later in zip(self.months, self.months[1:], strict=False)):
            raise ValueError("months do not ascend")
        return self


class _State(_Strict):
    """What a frozen model is made of."""

    format: Literal[1]
    learner: Literal["ridge", "xgboost"]
    horizon_months: Annotated[float, Field(allow_inf_nan=False, gt=0)] | None
    columns: list[_ColumnState]
    fill: list[Number]
    indicators: list[Position]
    selected: list[Position]
    mean: list[Number]
    scale: list[Annotated[float, Field(allow_inf_nan=False, gt=0)]]
    coefficients: list[Number] | None
    intercept: Number
    input_mean: list[Number] | None
    baseline: _BaselineState | None

    @model_validator(mode="after")
    def _consistent(self) -> _State:
        size, encoded = len(self.selected), len(input_names(self.specs()))
        if size == 0 or len(self.mean) != size or len(self.scale) != size:
            raise ValueError("selected, mean and scale have different lengths or are empty")
        if len(self.fill) != encoded or any(i >= encoded for i in self.indicators):
            raise ValueError("fill or indicators do not fit the columns")
        if len(set(self.selected)) != size or max(self.selected) >= encoded + len(self.indicators):
            raise ValueError("selected repeats an input or points beyond the inputs")
        ridge = self.learner == "ridge"
        for values in (self.coefficients, self.input_mean):
            if (values is not None) != ridge or (values is not None and len(values) != size):
                raise ValueError("coefficients or input_mean do not fit the learner or the inputs")
        if (self.baseline is None) != (self.horizon_months is not None):
            raise ValueError("a model has either a horizon or a baseline hazard")
        return self

    def specs(self) -> tuple[ColumnSpec, ...]:
        return tuple(ColumnSpec(c.name, c.kind, tuple(c.categories), c.log) for c in self.columns)


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
        Ridge: linear predictor, and mean of the training inputs (the point attributions refer to).
    baseline
        Hazards, for time to event.
    booster
        Trees as JSON, or None for ridge.
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

    def __post_init__(self) -> None:
        trees = None
        if self.booster is not None:
            from radiomics_crlm.modelling.boosting import booster_from_json  # xgboost only where there are trees

            trees = booster_from_json(self.booster, inputs=self.selected.size)
        object.__setattr__(self, "_trees", trees)

    @property
    def learner(self) -> str:
        """``ridge`` or ``xgboost``."""
        return "ridge" if self.booster is None else "xgboost"

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
        """Risk of n rows; higher = event more likely or sooner (log odds at the horizon, or log hazard ratio)."""
        return self._risk(self.transform(X).to_numpy())

    def probability(self, X: pd.DataFrame, months: Sequence[float] = REPORT_MONTHS) -> Floats:
        """Probability of the event within each of ``months``, n x len(months); NaN where the model does not speak."""
        risk = self.risk(X)
        if self.horizon is not None:
            return probability_at_horizon(risk, self.horizon, months)
        assert self.baseline is not None  # noqa: S101 - guaranteed by the state
        return cumulative_incidence(self.baseline, risk, months)

    def contributions(self, X: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Exact SHAP values of n rows (n x inputs) and their base value (n); together they sum to the risk.

        Ridge: coefficient x (input - training mean). Trees: TreeSHAP, in float32.
        """
        inputs = self.transform(X)
        if self.coefficients is not None and self.input_mean is not None:
            values = self.coefficients * (inputs.to_numpy() - self.input_mean)
            centre = float(linear_risk(self.input_mean[None, :], self.coefficients, self.intercept)[0])
            base = np.full(len(X), centre)
        else:
            from radiomics_crlm.modelling.boosting import contributions

            values, base = contributions(self._trees, inputs.to_numpy())  # type: ignore[attr-defined]
        return pd.DataFrame(values, index=X.index, columns=inputs.columns), base

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and names, ready for JSON (floats survive exactly); the trees are apart, in ``booster``."""
        baseline = self.baseline
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
        }

    @classmethod
    def from_state(cls, state: Any, booster: bytes | None = None) -> FrozenModel:
        """A model from :meth:`to_state` and its trees.

        Raises
        ------
        InputError
            For unknown or missing keys, wrong types, shapes that do not fit, numbers that are not finite, missing
            or surplus trees.
        """
        try:
            checked = _State.model_validate(state)
            columns = check_columns(checked.specs())
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'state'}: {e['msg']}" for e in error.errors(include_url=False)[:5]
            )
            raise InputError("the stored model is not valid", where="model state", got=faults) from None
        except ConfigError as error:
            raise InputError("the stored model is not valid", where="model state", got=error.what) from None
        if (booster is None) != (checked.learner == "ridge"):
            raise InputError("trees and learner do not fit together", where="model state", got=checked.learner)
        baseline = checked.baseline
        return cls(
            columns=columns,
            horizon=checked.horizon_months,
            fill=np.array(checked.fill, dtype=float),
            indicators=np.array(checked.indicators, dtype=int),
            selected=np.array(checked.selected, dtype=int),
            mean=np.array(checked.mean, dtype=float),
            scale=np.array(checked.scale, dtype=float),
            coefficients=None if checked.coefficients is None else np.array(checked.coefficients, dtype=float),
            intercept=checked.intercept,
            input_mean=None if checked.input_mean is None else np.array(checked.input_mean, dtype=float),
            baseline=None
            if baseline is None
            else Baseline(
                np.array(baseline.months, dtype=float),
                np.array(baseline.event, dtype=float),
                np.array(baseline.competing, dtype=float),
                baseline.last_month,
            ),
            booster=booster,
        )

    def _risk(self, inputs: Floats) -> Floats:
        if self.coefficients is not None:
            return linear_risk(inputs, self.coefficients, self.intercept)
        from radiomics_crlm.modelling.boosting import margins

        return margins(self._trees, inputs)  # type: ignore[attr-defined]


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
    if not hasattr(learner, "coef_") and not hasattr(learner, "booster_"):
        raise ConfigError("this pipeline is not fitted", where="learner")
    scale = steps["scale"]
    chosen = steps["select"].selected_ if "select" in steps else np.arange(scale.mean_.size)
    fill, indicators, selected = _positions(steps)
    trees = None
    if hasattr(learner, "booster_"):
        from radiomics_crlm.modelling.boosting import booster_to_json

        trees = booster_to_json(learner.booster_)
    return FrozenModel(
        columns=tuple(steps["encode"].columns),
        horizon=None if getattr(learner, "horizon", None) is None else float(learner.horizon),
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
