"""What a model may see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from radiomics_crlm.config.base import Strict


class RobustnessSelection(Strict):
    """Only features that perturbations, or other readers, hardly change: chosen inside each training fold.

    ``table`` is ``perturbed_patients.parquet`` of ``crlm robustness``, named from the folder given with ``--data`` (or,
    without one, the current folder). Aggregates of lesion features (``largest__``, ...) need an ICC(2,1)
    whose lower 95 % limit reaches ``minimum`` among the training patients.
    """

    table: str = Field(min_length=1)
    minimum: float = Field(default=0.75, ge=0, le=1)
    raters: Literal["perturbations", "readers"] = "perturbations"


class RadiomicsSelection(Strict):
    """Columns of ``features_patient`` that enter a feature set, and the scans that they are taken from.

    Without ``timepoints`` the latest scan counts that is known at the prediction time. ``delta`` is the change from
    baseline to restaging. Patients who lack the scan are left out (``missing: exclude``), or stay and are imputed
    inside each training fold (``impute``); the latter is the default where a feature set has several kinds of scans.
    """

    modality: Literal["CT", "MR"] = "CT"
    sequence: str = "portal_venous"
    columns: tuple[str, ...] = Field(
        default=("largest__*", "weighted__*"), min_length=1, description="shell patterns of feature columns"
    )
    timepoints: tuple[Literal["baseline", "restaging", "preoperative", "delta"], ...] = ()
    change: tuple[Literal["absolute", "relative"], ...] = Field(default=(), description="of delta; both by default")
    missing: Literal["exclude", "impute"] | None = None
    robustness: RobustnessSelection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RadiomicsSelection:
        if len(set(self.timepoints)) < len(self.timepoints) or len(set(self.change)) < len(self.change):
            raise ValueError("a time point or a kind of change is listed twice")
        if self.change and "delta" not in self.timepoints:
            raise ValueError("change says how delta is measured: list delta among the timepoints")
        if self.robustness is not None and (self.timepoints or self.missing == "impute"):
            raise ValueError("robustness is judged on one scan of every patient: leave timepoints and missing out")
        return self


def _one_or_several(content: object) -> str:
    return "several" if isinstance(content, list | tuple) else "one"


class FeatureSetConfig(Strict):
    """What a model may see. ``columns: all`` means every clinical predictor known at the prediction time.

    With ``level: lesion`` the model learns from lesions (columns ``lesion__*`` of ``features_lesion``), and the risk of
    a patient is the ``aggregate`` of the risks of the lesions.
    """

    title: str
    columns: Literal["all"] | tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    radiomics: Annotated[
        Annotated[RadiomicsSelection, Tag("one")]
        | Annotated[tuple[RadiomicsSelection, ...], Tag("several"), Field(min_length=1)],
        Discriminator(_one_or_several),
    ] | None = None  # fmt: skip
    level: Literal["patient", "lesion"] = "patient"
    aggregate: Literal["max", "mean"] | None = None

    @property
    def selections(self) -> tuple[RadiomicsSelection, ...]:
        """Selections of radiomics, none or more."""
        wanted = self.radiomics
        return () if wanted is None else wanted if isinstance(wanted, tuple) else (wanted,)

    @property
    def several_scans(self) -> bool:
        """Whether radiomics come from several kinds of scans, or from named time points."""
        kinds = {(wanted.modality, wanted.sequence) for wanted in self.selections}
        return len(kinds) > 1 or any(wanted.timepoints for wanted in self.selections)

    @model_validator(mode="after")
    def _not_empty(self) -> FeatureSetConfig:
        if not self.columns and self.radiomics is None:
            raise ValueError("a feature set needs clinical columns, radiomics, or both")
        if len(self.selections) > 1 and any(wanted.robustness for wanted in self.selections):
            raise ValueError("robustness is judged on one kind of scan: a feature set with several cannot ask for it")
        return self

    @model_validator(mode="after")
    def _lesions(self) -> FeatureSetConfig:
        if (self.level == "lesion") != (self.aggregate is not None):
            raise ValueError("aggregate is declared exactly if the level is lesion")
        if self.level == "patient":
            return self
        wanted = self.selections
        if len(wanted) != 1 or self.several_scans or wanted[0].missing == "impute" or wanted[0].robustness is not None:
            raise ValueError("the level lesion takes one selection without timepoints, imputed scans and robustness")
        if not all(pattern.startswith("lesion__") for pattern in wanted[0].columns):
            raise ValueError("columns of the level lesion are those of lesions: patterns that begin with lesion__")
        return self
