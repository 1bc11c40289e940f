"""How a model learns inside each training fold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from radiomics_crlm.config.base import Strict

LearnerName = Literal[
    "ridge",
    "elastic_net",
    "fine_gray",
    "xgboost",
    "xgboost_aft",
    "random_forest",
    "ebm",
    "late_fusion",
    "stacking",
]
SelectionName = Literal["univariate", "mrmr", "stability"]


class SelectionConfig(Strict):
    """How many of the radiomic inputs a model sees, and how they are chosen inside each training fold. Clinical columns
    beside them always stay."""

    method: Literal["none"] | SelectionName = "univariate"
    k: int = Field(default=12, ge=1, le=1000)


class RangeConfig(Strict):
    """Values that a setting of a learner may take, both limits included; ``log``: searched by ratio."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    log: bool = False


class TuningConfig(Strict):
    """How the settings of a learner are chosen inside each training fold: from a grid, or by a seeded search of so many
    trials in ranges. Settings without a declared range are searched from the smallest to the largest value of the grid.
    """

    method: Literal["grid", "optuna"] = "grid"
    trials: int = Field(default=30, ge=2, le=1000)
    space: dict[LearnerName, dict[str, RangeConfig]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _space_is_searched(self) -> TuningConfig:
        if self.method == "grid" and self.space:
            raise ValueError("a search space is for the method optuna")
        return self


class ThresholdConfig(Strict):
    """A threshold chosen in each training fold: the largest with a ``sensitivity`` of at least so much, or the one with
    the largest gain in net benefit between the two limits of ``net_benefit``."""

    sensitivity: float | None = Field(default=None, gt=0, lt=1)
    net_benefit: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> ThresholdConfig:
        if (self.sensitivity is None) == (self.net_benefit is None):
            raise ValueError("a threshold needs either sensitivity or net_benefit")
        if self.net_benefit is not None and not 0 < self.net_benefit[0] <= self.net_benefit[1] < 1:
            raise ValueError("the limits of net_benefit must rise and lie between 0 and 1")
        return self


class OperatingConfig(Strict):
    """Calibration of the probabilities and thresholds, learned from inner out-of-fold predictions. ``months``: time of
    the thresholds of a time-to-event endpoint (12, 24 or 36)."""

    calibration: Literal["none", "platt", "isotonic"] = "none"
    thresholds: tuple[ThresholdConfig, ...] = ()
    months: Literal[12, 24, 36] = 24


class HarmonisationConfig(Strict):
    """ComBat on the radiomic inputs, learned inside each training fold from the site in ``column`` (centre, scanner).

    ``covariates`` are clinical columns whose effect on the features is kept. Patients of sites that were not learned
    are refused, or pass as of the ``reference`` site, or pass as they are and are flagged.
    """

    column: str
    unseen: Literal["refuse", "reference", "flag"] = "refuse"
    reference: str | None = None
    covariates: tuple[str, ...] = ()
    min_patients: int = Field(default=5, ge=2)

    @model_validator(mode="after")
    def _reference_if_used(self) -> HarmonisationConfig:
        if (self.unseen == "reference") != (self.reference is not None):
            raise ValueError("a reference site is named exactly if unseen sites are to pass as of it")
        return self
