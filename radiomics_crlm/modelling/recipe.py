"""What is fitted: columns, learner, selection and the candidates among which tuning chooses."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radiomics_crlm.config import LearnerName, SelectionName
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.outcome import Kind
from radiomics_crlm.modelling.columns import Block, ColumnSpec, check_columns, input_names
from radiomics_crlm.modelling.estimators import (
    ElasticNetCox,
    ElasticNetLogistic,
    ExplainableBoosting,
    FineGray,
    ForestAtHorizon,
    ForestIncidence,
    LateFusionCox,
    LateFusionLogistic,
    Learner,
    RidgeCox,
    RidgeLogistic,
    StackingCox,
    StackingLogistic,
    XGBoostAFT,
    XGBoostCox,
    XGBoostLogistic,
)
from radiomics_crlm.modelling.glassbox import require_interpret
from radiomics_crlm.modelling.harmonisation import ComBat, Harmonisation
from radiomics_crlm.modelling.lesion_learners import (
    LesionRidgeCox,
    LesionRidgeLogistic,
    LesionXGBoostCox,
    LesionXGBoostLogistic,
)
from radiomics_crlm.modelling.lesions import PerLesion, feature_of, lesion_of
from radiomics_crlm.modelling.operating import Operating
from radiomics_crlm.modelling.robustness import Robustness, StableFeatures
from radiomics_crlm.modelling.selection import MRMRSelector, StabilitySelector
from radiomics_crlm.modelling.transformers import (
    FeatureFilter,
    SharedIndicatorImputer,
    TableEncoder,
    UnivariateSelector,
)
from radiomics_crlm.modelling.tuning import Range, Search

_CLASSES: dict[tuple[str, str], type[Any]] = {
    ("ridge", "binary"): RidgeLogistic,
    ("ridge", "time_to_event"): RidgeCox,
    ("elastic_net", "binary"): ElasticNetLogistic,
    ("elastic_net", "time_to_event"): ElasticNetCox,
    ("fine_gray", "time_to_event"): FineGray,
    ("xgboost", "binary"): XGBoostLogistic,
    ("xgboost", "time_to_event"): XGBoostCox,
    ("xgboost_aft", "time_to_event"): XGBoostAFT,
    ("random_forest", "binary"): ForestAtHorizon,
    ("random_forest", "time_to_event"): ForestIncidence,
    ("ebm", "binary"): ExplainableBoosting,
    ("late_fusion", "binary"): LateFusionLogistic,
    ("late_fusion", "time_to_event"): LateFusionCox,
    ("stacking", "binary"): StackingLogistic,
    ("stacking", "time_to_event"): StackingCox,
}
_OF_LESIONS: dict[tuple[str, str], type[Any]] = {
    ("ridge", "binary"): LesionRidgeLogistic,
    ("ridge", "time_to_event"): LesionRidgeCox,
    ("xgboost", "binary"): LesionXGBoostLogistic,
    ("xgboost", "time_to_event"): LesionXGBoostCox,
}
LESIONS = "lesions"
"""Stands among the blocks of a feature set for learning from lesions."""
_OF_BLOCKS = ("late_fusion", "stacking")


@dataclass(frozen=True)
class Recipe:
    """A model before it has seen data.

    Parameters
    ----------
    feature_set
        Name of the feature set, for the model's name.
    columns
        What it reads.
    learner
        See ``config.LearnerName``.
    kind
        ``time_to_event`` or ``binary`` (label at the horizon that is given when fitting).
    select_k
        Selection of this many inputs inside each training fold (columns with ``keep`` stay besides), or None.
    selection
        How they are chosen (see ``config.SelectionName``).
    seed
        Seed of the learner.
    penalties
        Candidates of the ridge models (also of each part of a fusion), strongest first.
    net_penalties, l1_ratios
        Candidates of the elastic net, most conservative first.
    rounds, depths
        Candidates of the boosted trees, most conservative first.
    leaves
        Candidates of the random forest: leaves of a tree, fewest first.
    trees
        Size of the random forest.
    steps
        Candidates of the explainable boosting machine: smallest number of patients on a step of a curve, largest first.
    fixed
        Declares that there is one candidate only and nothing is tuned.
    search
        Settings are searched in ranges instead of a grid, or None.
    operating
        Calibration and thresholds from inner predictions, or None.
    max_constant, max_correlation
        See ``transformers.FeatureFilter``.
    harmonisation
        Sites whose differences are removed from the radiomic numbers inside each training fold, or None.
    robustness
        Perturbed features by which unstable inputs are dropped inside each training fold, or None.
    aggregate
        ``max`` or ``mean``: the model learns from lesions, and this is what their risks become for the patient. Columns
        named ``lesionK:...`` are about the lesion of that number. Empty: it learns from patients.

    Raises
    ------
    ConfigError
        For an unknown learner or kind, a learner that does not fit the kind or the columns or whose package is absent,
        an empty or undeclared one-candidate search space, settings out of range.
    """

    feature_set: str
    columns: tuple[ColumnSpec, ...]
    learner: LearnerName
    kind: Kind
    select_k: int | None = None
    selection: SelectionName = "univariate"
    seed: int = 0
    penalties: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03)
    net_penalties: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01)
    l1_ratios: tuple[float, ...] = (0.9, 0.5, 0.1)
    rounds: tuple[int, ...] = (25, 50, 100, 150)
    depths: tuple[int, ...] = (1, 2)
    leaves: tuple[int, ...] = (2, 4, 8, 16)
    trees: int = 200
    steps: tuple[int, ...] = (20, 5)
    fixed: bool = False
    search: Search | None = field(default=None, compare=False)
    operating: Operating | None = None
    max_constant: float = 0.95
    max_correlation: float = 0.9
    robustness: Robustness | None = field(default=None, compare=False)
    harmonisation: Harmonisation | None = field(default=None, compare=False)
    aggregate: Literal["", "max", "mean"] = ""

    def __post_init__(self) -> None:
        check_columns(self.columns)
        if self.learner not in get_args(LearnerName) or self.kind not in get_args(Kind):
            raise ConfigError("unknown learner or kind", where=self.name, got=f"{self.learner}, {self.kind}")
        blocks = {column.block for column in self.columns} | ({LESIONS} if self.aggregate else set())
        if reason := why_not(self.learner, self.kind, blocks):
            raise ConfigError(reason, where=self.name)
        if self.aggregate:
            self._check_lesions()
        if self.learner == "ebm":
            require_interpret()
        self._check_space()
        if self.select_k is not None and self.select_k < 1:
            raise ConfigError("select_k is out of range", where=self.name, expected=">= 1", got=str(self.select_k))
        if self.selection not in get_args(SelectionName):
            raise ConfigError("unknown selection", where=self.name, got=self.selection)
        if not 0 < self.max_constant <= 1 or not 0 < self.max_correlation <= 1:
            raise ConfigError("filter limits are out of range", where=self.name, expected="above 0, at most 1")

    def _check_lesions(self) -> None:
        if self.harmonisation is not None or self.robustness is not None:
            raise ConfigError("a model of lesions knows no harmonisation and no robustness", where=self.name)
        if self.select_k is not None and self.selection == "stability":
            raise ConfigError(
                "stability selection draws halves of the rows, which here are lesions and not patients",
                where=self.name, remedy="choose the selection univariate or mrmr",
            )  # fmt: skip

    def _check_space(self) -> None:
        space = self.space()
        if self.search is not None:
            if self.fixed:
                raise ConfigError("a recipe is either fixed or searched", where=self.name)
            self.search.space(space)
        values = [value for choices in space.values() for value in choices]
        count = int(np.prod([len(choices) for choices in space.values()]))
        if count == 0 or min(values) <= 0:
            raise ConfigError("the search space is empty or holds values <= 0", where=self.name)
        if (count == 1) != self.fixed:
            raise ConfigError(
                "the search space does not fit its declaration",
                where=self.name,
                expected="fixed=True with one candidate, fixed=False with several",
                got=f"{count} candidates, fixed={self.fixed}",
            )

    @property
    def name(self) -> str:
        """``{feature_set}/{learner}``, the name of the model in all tables."""
        return f"{self.feature_set}/{self.learner}"

    def space(self) -> dict[str, tuple[float, ...]]:
        """Values of each setting that is tuned; candidates are their combinations, the last setting varying fastest."""
        spaces: dict[str, dict[str, tuple[float, ...]]] = {
            "ridge": {"penalty": self.penalties},
            "fine_gray": {"penalty": self.penalties},
            "elastic_net": {"penalty": self.net_penalties, "l1_ratio": self.l1_ratios},
            "xgboost": {"depth": self.depths, "rounds": self.rounds},
            "xgboost_aft": {"depth": self.depths, "rounds": self.rounds},
            "random_forest": {"leaves": self.leaves},
            "ebm": {"min_leaf": self.steps},
            "late_fusion": {"penalty": self.penalties, "penalty_radiomics": self.penalties},
            "stacking": {"penalty": self.penalties, "penalty_radiomics": self.penalties},
        }
        return spaces[self.learner]

    def ranges(self) -> dict[str, Range]:
        """Ranges that are searched; empty for a grid."""
        return {} if self.search is None else self.search.space(self.space())

    @property
    def n_inputs(self) -> int:
        """Number of inputs that a learner sees before any selection."""
        return len({feature_of(name) for name in input_names(self.columns)})

    def kept(self) -> tuple[int, ...]:
        """Positions of the encoded inputs that are never dropped."""
        flags = [column.keep for column in self.columns for _ in column.inputs()]
        return tuple(position for position, keep in enumerate(flags) if keep)


def why_not(learner: str, kind: str, blocks: Collection[str]) -> str:
    """Why a learner does not fit a kind of endpoint or the blocks of a feature set; empty if it does.

    >>> why_not("fine_gray", "binary", {"clinical"})
    'the learner fine_gray is not for binary endpoints'
    """
    if (learner, kind) not in _CLASSES:
        return f"the learner {learner} is not for {kind.replace('_', '-')} endpoints"
    if LESIONS in blocks and (learner, kind) not in _OF_LESIONS:
        return f"the learner {learner} does not learn from lesions"
    if learner in _OF_BLOCKS and set(blocks) != set(get_args(Block)):
        return f"the learner {learner} needs clinical and radiomic columns"
    return ""


def not_deliverable(learner: str, kind: str) -> str:
    """Why a model of this learner cannot be frozen into a bundle; empty if it can."""
    return str(_CLASSES[learner, kind].not_deliverable)


def candidates(recipe: Recipe, horizon: float | None) -> list[Learner]:
    """Unfitted learners to choose from, most conservative first.

    Raises
    ------
    ConfigError
        If a binary recipe has no horizon.
    """
    space = recipe.space()
    combinations = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    if recipe.learner in _OF_BLOCKS:
        combinations.sort(key=lambda c: -np.log(c["penalty"]) - np.log(c["penalty_radiomics"]))
    return [learner_with(recipe, horizon, combination) for combination in combinations]


def learner_with(recipe: Recipe, horizon: float | None, settings: Mapping[str, float]) -> Learner:
    """The unfitted learner of a recipe with these tuned settings (refusals as in :func:`candidates`)."""
    kind = (_OF_LESIONS if recipe.aggregate else _CLASSES)[recipe.learner, recipe.kind]
    known: dict[str, Any] = {"seed": recipe.seed, "trees": recipe.trees}
    if recipe.aggregate:
        slots = max((lesion_of(column.name) for column in recipe.columns), default=0)
        known |= {"slots": max(1, slots), "aggregate": recipe.aggregate}
    if recipe.kind == "binary":
        known["horizon"] = _required(horizon, recipe)
    accepted = kind._get_param_names()
    learner: Learner = kind(**{name: value for name, value in known.items() if name in accepted}, **settings)
    return learner


def preprocessing(recipe: Recipe, horizon: float | None) -> Pipeline:
    """Unfitted steps before the learner: encode, harmonise and drop what is unstable (on request), impute (with
    missingness indicators), filter, scale, select."""
    if recipe.aggregate:
        return _of_lesions(recipe, horizon)
    kept = recipe.kept()
    steps: list[tuple[str, BaseEstimator]] = [("encode", TableEncoder(recipe.columns))]
    if recipe.harmonisation is not None or recipe.robustness is not None:
        steps[0][1].set_output(transform="pandas")  # the next step needs to know whose rows it sees
    if recipe.harmonisation is not None:
        asked = recipe.harmonisation
        flags = [column.block == "radiomics" for column in recipe.columns for _ in column.inputs()]
        inputs = tuple(np.flatnonzero(flags).tolist())
        steps.append(("harmonise", ComBat(inputs, asked.sites, asked.unseen, asked.reference, asked.min_patients)))
    if recipe.robustness is not None:
        names, wanted = tuple(input_names(recipe.columns)), recipe.robustness
        steps.append(("stable", StableFeatures(names, wanted.ratings, wanted.minimum, kept)))
        kept = tuple(range(len(kept)))
    imputer = SharedIndicatorImputer if any(column.scan for column in recipe.columns) else SimpleImputer
    return Pipeline([*steps, *_numeric_steps(recipe, horizon, imputer, kept)])


def _numeric_steps(
    recipe: Recipe, horizon: float | None, imputer: type[SimpleImputer], kept: tuple[int, ...]
) -> list[tuple[str, BaseEstimator]]:
    steps: list[tuple[str, BaseEstimator]] = [
        # An input that is missing throughout a training fold becomes constant, and the filter drops it.
        ("impute", imputer(strategy="median", add_indicator=True, keep_empty_features=True)),
        ("filter", FeatureFilter(recipe.max_constant, recipe.max_correlation, kept)),
        ("scale", StandardScaler()),
    ]
    if recipe.select_k is not None:
        steps.append(("select", _selector(recipe, recipe.select_k, horizon, len(kept))))
    return steps


def _of_lesions(recipe: Recipe, horizon: float | None) -> Pipeline:
    """The same steps, on lesions: each sees the inputs of its patient, then its own."""
    names = input_names(recipe.columns)
    patient = [position for position, name in enumerate(names) if not lesion_of(name)]
    features = list(dict.fromkeys(feature_of(name) for name in sorted(names) if lesion_of(name)))
    slots = max((lesion_of(name) for name in names), default=0)
    positions = np.full((max(1, slots), len(features)), -1)
    for position, name in enumerate(names):
        if number := lesion_of(name):
            positions[number - 1, features.index(feature_of(name))] = position
    kept = tuple(patient.index(position) for position in recipe.kept())
    steps = Pipeline(_numeric_steps(recipe, horizon, SharedIndicatorImputer, kept))
    lesions = PerLesion(steps, tuple(patient), tuple(map(tuple, positions.tolist())))
    return Pipeline([("encode", TableEncoder(recipe.columns)), ("lesions", lesions)])


def _selector(recipe: Recipe, k: int, horizon: float | None, kept: int) -> BaseEstimator:
    if recipe.selection == "mrmr":
        return MRMRSelector(k, recipe.kind, horizon, kept)
    if recipe.selection == "stability":
        return StabilitySelector(k, recipe.kind, horizon, kept, seed=recipe.seed)
    return UnivariateSelector(k, recipe.kind, horizon, kept)


def informed(choices: list[Learner], steps: Pipeline) -> list[Learner]:
    """The learners, those that model blocks apart told which block each input they get is of.

    Parameters
    ----------
    choices
        Unfitted learners.
    steps
        Fitted preprocessing: what it dropped decides which inputs are left.
    """
    if not choices or "blocks" not in choices[0].get_params():
        return choices
    columns, indicators = steps.named_steps["encode"].columns, steps.named_steps["impute"].indicator_.features_
    encoded = np.array([column.block for column in columns for _ in column.inputs()], dtype=object)
    if "stable" in steps.named_steps:  # it chooses before imputation, which numbers what is left
        encoded = encoded[steps.named_steps["stable"].selected_]
    blocks = np.concatenate((encoded, encoded[indicators]))
    for name, step in steps.named_steps.items():
        if name != "stable" and hasattr(step, "selected_"):
            blocks = blocks[step.selected_]
    return [clone(choice).set_params(blocks=tuple(blocks)) for choice in choices]


def _required(horizon: float | None, recipe: Recipe) -> float:
    if horizon is None:
        raise ConfigError("a binary model needs a horizon", where=recipe.name, expected="months > 0")
    return horizon
