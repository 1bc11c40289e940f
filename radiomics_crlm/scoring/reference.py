"""What a bundle keeps of its training in order to judge later predictions, patients and cohorts.

Thresholds, moments and shares of groups of patients: nothing here is the value of a single one.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from radiomics_crlm.config import Strict

Name = Annotated[str, StringConstraints(max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Month = Annotated[int, Field(ge=1, le=600)]
Count = Annotated[int, Field(ge=0, le=10**9)]

MOST_DIRECTIONS = 40
"""Directions in which novelty is measured; what lies outside of them is one residual."""


class OutcomeSet(Strict):
    """Conformal prediction set for the event by ``months``.

    An outcome belongs to the set of a patient if one minus its predicted probability is at most ``threshold``
    (1: always both). ``covered`` is the weighted share of out-of-fold predictions whose set holds what happened.
    """

    months: Month
    threshold: Share
    patients: Count
    covered: Share


class EventFreeBound(Strict):
    """Conformal lower bound of the time to the event: when the predicted incidence reaches ``incidence``.

    ``months`` are the times between which the incidence is interpolated; the last caps the bound.
    """

    months: tuple[Month, ...] = Field(min_length=1, max_length=60)
    incidence: Share
    patients: Count
    covered: Share


class RefitBand(Strict):
    """Spread of refitted models around a prediction, by predicted log odds at ``months``.

    Each of ``centre`` (ascending), ``lower`` (<= 0) and ``upper`` (>= 0) is a mean of ``smallest`` patients or more.
    """

    months: Month
    draws: Annotated[int, Field(ge=2)]
    smallest: Annotated[int, Field(ge=10)]
    centre: tuple[Finite, ...] = Field(min_length=1, max_length=50)
    lower: tuple[Annotated[float, Field(le=0, allow_inf_nan=False)], ...]
    upper: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _aligned(self) -> RefitBand:
        if not len(self.centre) == len(self.lower) == len(self.upper):
            raise ValueError("the band has limits of different lengths")
        if any(a >= b for a, b in zip(self.centre, self.centre[1:], strict=False)):
            raise ValueError("the centres of the band must ascend")
        return self


class Uncertainty(Strict):
    """Prediction sets, bound and bands of a model; ``level`` is the coverage that is aimed at."""

    level: Share
    sets: tuple[OutcomeSet, ...] = Field(default=(), max_length=60)
    bound: EventFreeBound | None = None
    bands: tuple[RefitBand, ...] = Field(default=(), max_length=60)


class Novelty(Strict):
    """Where the training patients lie among the learner inputs (standardised, imputed, selected).

    The squared distance of x is the sum over ``directions`` v of (v (x - mean))^2, plus the squared length of what lies
    outside of them over ``residual`` (null if nothing does); rows of ``directions`` are eigenvectors of the shrunk
    covariance over the square root of ``variances``. A patient beyond ``limit`` is unlike about 99 % of the training.
    """

    mean: tuple[Finite, ...] = Field(min_length=1, max_length=5000)
    directions: tuple[tuple[Finite, ...], ...] = Field(min_length=1, max_length=MOST_DIRECTIONS)
    variances: tuple[Positive, ...]
    residual: Positive | None = None
    limit: Positive

    @model_validator(mode="after")
    def _aligned(self) -> Novelty:
        if len(self.directions) != len(self.variances) or {len(v) for v in self.directions} != {len(self.mean)}:
            raise ValueError("directions, variances and mean do not fit together")
        return self


class InputShape(Strict):
    """Distribution of one input: the patients in each bin or category, and how many have none.

    Numbers: bins between ``edges`` (ascending, one more bin than edges) and ``middle``, the mean of the central fifth.
    Booleans and categories: ``levels``, one more count for all others.
    """

    missing: Count
    counts: tuple[Count, ...] = Field(max_length=200)
    edges: tuple[Finite, ...] = ()
    middle: Finite | None = None
    levels: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _aligned(self) -> InputShape:
        if len(self.counts) != max(len(self.edges), len(self.levels)) + 1 or (self.edges and self.levels):
            raise ValueError("bins and counts do not fit together")
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("bins must ascend")
        return self


class ShiftReference(Strict):
    """Distribution of each input, and of what is known of the scans (``scans``), in the training patients."""

    patients: Count
    inputs: dict[Name, InputShape]
    scans: dict[Name, InputShape] = Field(default_factory=dict)
