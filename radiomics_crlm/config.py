"""Typed, strict configuration: an unknown key is an error, and every value is checked before any work starts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import resource

Moment = Literal["baseline", "restaging", "preoperative", "postoperative", "outcome"]
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
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=60)]


class Strict(BaseModel):
    """Base of all configuration: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointConfig(Strict):
    """What is predicted, for whom, from when, and at which moment the prediction is made.

    ``event``, ``months`` and ``competing`` name outcome columns of the clinical table. A binary endpoint is the same
    pair with a ``horizon_months``; if it has no time column (``months: null``), the label is known at the horizon.
    """

    title: str
    kind: Literal["time_to_event", "binary"]
    event: str
    event_levels: tuple[str, ...] = Field(default=(), description="levels that are the event, of a column with levels")
    months: str | None = None
    competing: str | None = Field(default=None, description="column that is true for the event or the competing event")
    horizon_months: float | None = Field(default=None, gt=0)
    index_date: str
    prediction_time: Moment
    population: dict[str, bool | str] = Field(default_factory=dict, description="clinical column: value it must have")
    population_if_recorded: dict[str, bool | str] = Field(
        default_factory=dict, description="the same, where the cohort has the column and it is known"
    )
    population_title: str = "all patients"
    higher_is_worse: bool = True
    min_events: int = Field(default=10, ge=2)

    @model_validator(mode="after")
    def _binary_has_horizon(self) -> EndpointConfig:
        if self.kind == "binary" and self.horizon_months is None:
            raise ValueError("a binary endpoint needs horizon_months")
        if self.kind == "time_to_event" and (self.months is None or self.horizon_months is not None):
            raise ValueError("a time-to-event endpoint needs months and has no horizon_months")
        return self


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
        blocks = len(content.get("cuts") or ()) + 1
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


class SampleSizeConfig(Strict):
    """What the sample-size panel assumes: the anticipated Cox-Snell R2 as a share of the largest possible, the smallest
    admissible shrinkage, and the time at which the overall risk of a time-to-event endpoint is judged."""

    r2_share: float = Field(default=0.15, gt=0, lt=1)
    shrinkage: float = Field(default=0.9, gt=0, lt=1)
    timepoint_months: float = Field(default=24, gt=0)


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


CONTROL_SETS = ("volume_only", "negative_control")
"""Feature sets that a study makes itself to answer its question; no other set may be named so."""
_ARM_HOLDS = {"clinical": (True, False), "radiomics": (False, True), "combined": (True, True)}


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


class SimulatedSource(Strict):
    """A simulated cohort, made on the spot (keys of ``phantom.SimulationConfig``)."""

    kind: Literal["simulated"]
    settings: dict[str, int | float] = Field(default_factory=dict)


class FolderSource(Strict):
    """A cohort folder given on the command line with ``--data``."""

    kind: Literal["folder"]


class TciaClinicalSource(Strict):
    """The clinical table of the TCIA collection Colorectal-Liver-Metastases, found below ``--data`` by its header.

    ``radiomics`` joins the 90 patients of the radMLBench feature table by key. They were selected on survival, so an
    experiment that joins them makes no performance claim.
    """

    kind: Literal["tcia_crlm_clinical"]
    radiomics: bool = False


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


class CohortNotes(Strict):
    """``cohort.yaml`` beside a cohort's clinical table."""

    name: str = ""
    citation: str = ""
    available_at: dict[str, Moment] = Field(default_factory=dict, description="columns known later than usual here")
    ignore_columns: tuple[str, ...] = ()
    units: dict[str, str] = Field(
        default_factory=dict,
        description="column: unit of its values, where it is not the canonical one (largest_met_mm: cm)",
    )
    date_format: str | None = Field(default=None, description="of all dates, where it is not ISO 8601 (%d.%m.%Y)")


_Model = TypeVar("_Model", bound=Strict)


def parse_config(model: type[_Model], content: object, *, where: str) -> _Model:
    """Check a configuration.

    Raises
    ------
    ConfigError
        Naming each field that is unknown, missing or wrong, and the rule.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_url=False)[:10]
        )
        raise ConfigError("the configuration is not valid", where=where, got=faults) from None


def load_config(model: type[_Model], path: Path) -> _Model:
    """Read a YAML configuration file and check it.

    Raises
    ------
    ConfigError
        If the file is absent, no YAML, or not valid.
    """
    return parse_config(model, read_yaml(path), where=path.name)


def read_yaml(path: Path) -> Any:
    """Read YAML without executing anything it may name.

    Raises
    ------
    ConfigError
        If the file is absent or malformed.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("the file is missing", where=path.name, remedy="check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("the file is not valid YAML", where=path.name, got=type(error).__name__) from None


def load_endpoints() -> dict[str, EndpointConfig]:
    """The endpoint definitions of ``configs/endpoints.yaml``, by name."""
    content = read_yaml(resource("configs/endpoints.yaml"))
    return {name: parse_config(EndpointConfig, body, where=f"endpoints.yaml: {name}") for name, body in content.items()}
