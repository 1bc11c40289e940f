"""A whole study in one file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from radiomics_crlm.config.answer import AcceptanceConfig, AnswerConfig
from radiomics_crlm.config.base import Slug, Strict
from radiomics_crlm.config.cohort import FolderSource, SimulatedSource, TciaClinicalSource
from radiomics_crlm.config.design import DesignConfig, SampleSizeConfig
from radiomics_crlm.config.feature_sets import FeatureSetConfig
from radiomics_crlm.config.learning import (
    HarmonisationConfig,
    LearnerName,
    OperatingConfig,
    SelectionConfig,
    TuningConfig,
)


class ExperimentConfig(Strict):
    """A whole study: cohort, endpoints, feature sets, learners, design, comparators."""

    name: Slug
    title: str
    question: str
    cohort: Annotated[SimulatedSource | FolderSource | TciaClinicalSource, Field(discriminator="kind")]
    endpoints: tuple[str, ...] = Field(min_length=1)
    feature_sets: dict[Slug, FeatureSetConfig] = Field(min_length=1)
    learners: tuple[LearnerName, ...] = Field(min_length=1)
    profiles: dict[str, str] = Field(
        default_factory=dict, description="MODALITY/sequence: extraction profile, where it is not the shipped choice"
    )
    design: DesignConfig
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    tuning: TuningConfig = Field(default_factory=TuningConfig)
    operating: OperatingConfig | None = None
    harmonisation: HarmonisationConfig | None = None
    sample_size: SampleSizeConfig = Field(default_factory=SampleSizeConfig)
    rules: tuple[str, ...] = ("fong_crs", "tbs2018", "mcs2019", "timing_eahpba2023")
    comparators: tuple[str, ...] = ("fong_crs",)
    reported_scores: tuple[str, ...] = Field(default=(), description="delivered score columns shown as comparators")
    rule_forms: tuple[Literal["rank", "recalibrated", "published"], ...] = Field(
        default=("rank",),
        min_length=1,
        description="how comparators are judged: as they are, recalibrated in each fold, by published probability",
    )
    rule_policy: Literal["complete_case", "bounds", "imputed"] = Field(
        default="complete_case", description="what stands for a score that cannot be assessed"
    )
    subgroups: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="clinical column: cut points (none for a category), judged apart"
    )
    risk_categories: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(), description="cut points of risk; if any are named, reclassification is shown with its caution"
    )
    deliver: dict[str, str] = Field(default_factory=dict, description="endpoint: feature_set/learner that is bundled")
    acceptance: dict[str, AcceptanceConfig] = Field(
        default_factory=dict, description="endpoint: criteria for the alias of the delivered model"
    )
    track_folds: bool = Field(default=True, description="a tracked run for every outer fold of every model")
    answer: AnswerConfig | None = Field(default=None, description="arms that answer what radiomics adds")
    performance_claim: bool = True
    cautions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _answer_fits(self) -> ExperimentConfig:
        asked = self.answer
        if asked is None:
            return self
        asked.refuse_misfits(self.feature_sets)
        if asked.learner is not None and asked.learner not in self.learners:
            raise ValueError(f"answer names the learner {asked.learner!r}, which the experiment does not use")
        if asked.rule is not None and asked.rule not in (*self.comparators, *self.reported_scores):
            raise ValueError(f"answer names the rule {asked.rule!r}, which is no comparator and no reported score")
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> ExperimentConfig:
        models = {f"{s}/{learner}" for s in self.feature_sets for learner in self.learners}
        for endpoint, model in self.deliver.items():
            if endpoint not in self.endpoints:
                raise ValueError(f"deliver names the endpoint {endpoint!r}, which the experiment does not have")
            if model not in models:
                raise ValueError(f"deliver names the model {model!r}; the experiment has {', '.join(sorted(models))}")
        if undelivered := sorted(set(self.acceptance) - set(self.deliver)):
            raise ValueError(f"acceptance names {', '.join(undelivered)}, for which nothing is delivered")
        if unknown := set(self.comparators) - set(self.rules):
            raise ValueError(f"comparators {sorted(unknown)} are not among the rules")
        if unused := set(self.tuning.space) - set(self.learners):
            raise ValueError(f"tuning has a search space for {sorted(unused)}, which the experiment does not use")
        of_lesions = [name for name, body in self.feature_sets.items() if body.level == "lesion"]
        if of_lesions and (self.harmonisation is not None or self.design.external):
            raise ValueError(f"{of_lesions} learn from lesions, which know no harmonisation and no external cohort")
        several = [name for name, body in self.feature_sets.items() if body.several_scans]
        if self.harmonisation is not None and several:
            raise ValueError(f"harmonisation is for one scan of each patient; {several} take radiomics from several")
        fitted = "recalibrated" in self.rule_forms or self.rule_policy == "imputed"
        if fitted and self.design.kind == "temporal":
            raise ValueError("rules that are recalibrated or imputed in each fold would see later patients")
        return self

    @model_validator(mode="after")
    def _foreign_features_stay_here(self) -> ExperimentConfig:
        if not isinstance(self.cohort, FolderSource) or self.cohort.features is None:
            return self
        delivered = {model.rpartition("/")[0] for model in self.deliver.values()}
        if wrong := sorted(name for name in delivered if self.feature_sets[name].radiomics is not None):
            raise ValueError(f"{wrong} cannot be delivered: a bundle cannot make the features of another program")
        if self.design.external:
            raise ValueError("external cohorts are extracted from images; features of another program do not compare")
        return self
