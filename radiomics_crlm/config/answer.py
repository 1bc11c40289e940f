"""What is asked of the finished models: the answer to the question, and acceptance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from radiomics_crlm.config.base import Slug, Strict
from radiomics_crlm.config.feature_sets import FeatureSetConfig
from radiomics_crlm.config.learning import LearnerName

CONTROL_SETS = ("volume_only", "negative_control")
"""Feature sets that a study makes itself to answer its question; no other set may be named so."""
_ARM_HOLDS = {"clinical": (True, False), "radiomics": (False, True), "combined": (True, True)}


class AcceptanceConfig(Strict):
    """What a delivered model must show before the version registered of it gets the alias ``accepted``.

    ``minimum_estimate`` and ``minimum_lower`` (lower limit of the 95 % interval) are about ``metric``, by default the
    rank statistic of the endpoint. ``better_than`` names a rule or model that must be beaten by an interval above 0.
    ``calibration_slope`` is the range in which the estimated slope must lie.
    """

    metric: Literal["c_index", "auc", "c_index_uno", "c_index_folds", "auc_folds", "brier_scaled"] | None = None
    minimum_estimate: float | None = Field(default=None, ge=-1, le=1)
    minimum_lower: float | None = Field(default=None, ge=-1, le=1)
    better_than: str | None = Field(default=None, min_length=1)
    calibration_slope: tuple[float, float] | None = None
    no_leak: bool = True

    @model_validator(mode="after")
    def _says_something(self) -> AcceptanceConfig:
        said = (self.minimum_estimate, self.minimum_lower, self.better_than, self.calibration_slope)
        if all(criterion is None for criterion in said):
            raise ValueError("acceptance needs a minimum, better_than or calibration_slope")
        if self.metric is not None and self.minimum_estimate is None and self.minimum_lower is None:
            raise ValueError("a metric of acceptance needs minimum_estimate or minimum_lower")
        if self.calibration_slope is not None and not self.calibration_slope[0] < self.calibration_slope[1]:
            raise ValueError("the limits of calibration_slope must rise")
        return self


class AnswerConfig(Strict):
    """Which models answer whether radiomics adds anything, and beside which controls.

    ``clinical``, ``radiomics`` and ``combined`` name feature sets; their models are of one ``learner`` (the first),
    declared here and never picked by result. ``rule`` is the comparator or delivered score that stands for the rules
    (the first). ``controls`` are a model of the volume alone and the combined model with its radiomics exchanged
    between patients; ``permutations`` says how often the model is refitted on permuted outcomes.
    """

    learner: LearnerName | None = None
    rule: str | None = None
    clinical: Slug | None = None
    radiomics: Slug | None = None
    combined: Slug | None = None
    volume: tuple[str, ...] = Field(
        default=("burden__total_volume_ml",),
        min_length=1,
        description="shell patterns of feature columns that measure nothing but the volume of lesions",
    )
    controls: bool = True
    permutations: int = Field(default=20, ge=0, le=1000)

    def named(self) -> dict[str, str]:
        """Feature sets by arm."""
        arms = {"clinical": self.clinical, "radiomics": self.radiomics, "combined": self.combined}
        return {arm: name for arm, name in arms.items() if name is not None}

    def refuse_misfits(self, sets: dict[str, FeatureSetConfig]) -> None:
        """Refuse feature sets that are not what their arm says (``ValueError``)."""
        named = self.named()
        if not named:
            raise ValueError("answer names no feature set")
        if taken := sorted(set(CONTROL_SETS) & set(sets)):
            raise ValueError(f"feature sets may not be named {', '.join(taken)}: the answer makes its own")
        for arm, name in named.items():
            if name not in sets:
                raise ValueError(f"answer names the feature set {name!r}, which the experiment does not have")
            if (bool(sets[name].columns), sets[name].radiomics is not None) != _ARM_HOLDS[arm]:
                raise ValueError(f"answer: the feature set {name!r} cannot be the arm {arm!r}: it holds other columns")
        if {"clinical", "combined"} <= set(named):
            seen = [(sets[named[arm]].columns, sets[named[arm]].exclude) for arm in ("clinical", "combined")]
            if seen[0] != seen[1]:
                raise ValueError("answer: clinical and combined need the same clinical columns, or they differ in more")
