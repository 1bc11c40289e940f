"""Who is tested by models that were fitted on whom, and whether they are enough."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from radiomics_crlm.config.base import Slug, Strict


class DesignConfig(Strict):
    """Who is tested by models that were fitted on whom; folds are made once and shared by all endpoints and models.

    ``repeated_cv``: repeated nested cross-validation by patient. ``leave_one_centre_out``: each centre is tested by
    models of all others. ``temporal``: each block of time is tested by models of the earlier ones, and the first block
    is never tested. ``external`` names cohorts that models of the whole development cohort are tried on once, besides.
    """

    kind: Literal["repeated_cv", "leave_one_centre_out", "temporal"] = "repeated_cv"
    column: str | None = Field(default=None, description="clinical column of the centre, or of the time order")
    cuts: tuple[float | date, ...] = Field(
        default=(), description="temporal: first value of each block but the first; without them blocks of equal size"
    )
    external: dict[Slug, str] = Field(
        default_factory=dict, description="name: folder of a cohort, from the folder given with --data"
    )
    outer_folds: int = Field(default=5, ge=2, le=20, description="temporal: number of blocks")
    repeats: int = Field(default=5, ge=1, le=100)
    inner_folds: int = Field(default=5, ge=2, le=20)
    seed: int = Field(ge=0)
    bootstrap_draws: int = Field(default=2000, ge=100, le=20000)
    refits: int = Field(
        default=0, ge=0, le=2000, description="bootstrap refits of each delivered model (prediction instability)"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("kind", "repeated_cv") == "repeated_cv":
            return content
        cuts = content.get("cuts") or ()
        blocks = len(cuts) + 1 if isinstance(cuts, (list, tuple)) else 1
        named = {"outer_folds": max(2, blocks)} if content["kind"] == "temporal" else {}
        return {"repeats": 1, **named, **content}

    @model_validator(mode="after")
    def _enough_refits(self) -> DesignConfig:
        if self.refits == 1:
            raise ValueError("instability needs several refits: 0 for none, or 2 and more")
        return self

    @model_validator(mode="after")
    def _fits_kind(self) -> DesignConfig:
        plain = self.kind == "repeated_cv"
        if plain != (self.column is None):
            raise ValueError(f"the design {self.kind} needs {'no' if plain else 'a'} column")
        if not plain and self.repeats != 1:
            raise ValueError(f"the design {self.kind} cannot be repeated: the column decides who is tested")
        if self.cuts and self.kind != "temporal":
            raise ValueError("cuts are for the design temporal")
        if self.cuts and (len({type(cut) for cut in self.cuts}) > 1 or sorted(set(self.cuts)) != list(self.cuts)):
            raise ValueError("cuts must be all numbers or all dates, and rise")
        if self.cuts and self.outer_folds != len(self.cuts) + 1:
            raise ValueError(f"{len(self.cuts)} cuts make {len(self.cuts) + 1} blocks; leave outer_folds out")
        return self


class SampleSizeConfig(Strict):
    """What the sample-size panel assumes: the anticipated Cox-Snell R2 as a share of the largest possible, the smallest
    admissible shrinkage, and the time at which the overall risk of a time-to-event endpoint is judged."""

    r2_share: float = Field(default=0.15, gt=0, lt=1)
    shrinkage: float = Field(default=0.9, gt=0, lt=1)
    timepoint_months: float = Field(default=24, gt=0)
