"""What is fitted: columns, learner, selection and the candidates among which tuning chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.evaluation.outcome import Kind
from radiomics_crlm.modelling.columns import ColumnSpec, check_columns, input_names
from radiomics_crlm.modelling.estimators import Learner, RidgeCox, RidgeLogistic, XGBoostCox, XGBoostLogistic
from radiomics_crlm.modelling.robustness import Robustness, StableFeatures
from radiomics_crlm.modelling.transformers import FeatureFilter, TableEncoder, UnivariateSelector

LearnerName = Literal["ridge", "xgboost"]


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
        ``ridge`` or ``xgboost``.
    kind
        ``time_to_event`` (Cox) or ``binary`` (label at the horizon that is given when fitting).
    select_k
        Univariate selection of this many inputs inside each training fold (columns with ``keep`` stay
        besides), or None.
    seed
        Seed of the learner.
    penalties
        Ridge candidates, strongest first.
    rounds, depths
        Candidates of the boosted trees, most conservative first.
    fixed
        Declares that there is one candidate only and nothing is tuned.
    max_constant, max_correlation
        See ``transformers.FeatureFilter``.
    robustness
        Perturbed features by which unstable inputs are dropped inside each training fold, or None.

    Raises
    ------
    ConfigError
        For an unknown learner or kind, an empty or undeclared one-candidate search space, settings out of range.
    """

    feature_set: str
    columns: tuple[ColumnSpec, ...]
    learner: LearnerName
    kind: Kind
    select_k: int | None = None
    seed: int = 0
    penalties: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03)
    rounds: tuple[int, ...] = (25, 50, 100, 150)
    depths: tuple[int, ...] = (1, 2)
    fixed: bool = False
    max_constant: float = 0.95
    max_correlation: float = 0.9
    robustness: Robustness | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_columns(self.columns)
        if self.learner not in get_args(LearnerName) or self.kind not in get_args(Kind):
            raise ConfigError("unknown learner or kind", where=self.name, got=f"{self.learner}, {self.kind}")
        space: tuple[float, ...] = self.penalties if self.learner == "ridge" else (*self.rounds, *self.depths)
        count = len(self.penalties) if self.learner == "ridge" else len(self.rounds) * len(self.depths)
        if count == 0 or min(space) <= 0:
            raise ConfigError("the search space is empty or holds values <= 0", where=self.name)
        if (count == 1) != self.fixed:
            raise ConfigError(
                "the search space does not fit its declaration",
                where=self.name,
                expected="fixed=True with one candidate, fixed=False with several",
                got=f"{count} candidates, fixed={self.fixed}",
            )
        if self.select_k is not None and self.select_k < 1:
            raise ConfigError("select_k is out of range", where=self.name, expected=">= 1", got=str(self.select_k))
        if not 0 < self.max_constant <= 1 or not 0 < self.max_correlation <= 1:
            raise ConfigError("filter limits are out of range", where=self.name, expected="above 0, at most 1")

    @property
    def name(self) -> str:
        """``{feature_set}/{learner}``, the name of the model in all tables."""
        return f"{self.feature_set}/{self.learner}"

    def kept(self) -> tuple[int, ...]:
        """Positions of the encoded inputs that are never dropped."""
        flags = [column.keep for column in self.columns for _ in column.inputs()]
        return tuple(position for position, keep in enumerate(flags) if keep)


def candidates(recipe: Recipe, horizon: float | None) -> list[Learner]:
    """Unfitted learners to choose from, most conservative first.

    Raises
    ------
    ConfigError
        If a binary recipe has no horizon.
    """
    if recipe.learner == "ridge":
        if recipe.kind == "time_to_event":
            return [RidgeCox(penalty) for penalty in recipe.penalties]
        return [RidgeLogistic(_required(horizon, recipe), penalty) for penalty in recipe.penalties]
    sizes = [(rounds, depth) for depth in recipe.depths for rounds in recipe.rounds]
    if recipe.kind == "time_to_event":
        return [XGBoostCox(rounds, depth, seed=recipe.seed) for rounds, depth in sizes]
    return [XGBoostLogistic(_required(horizon, recipe), rounds, depth, seed=recipe.seed) for rounds, depth in sizes]


def preprocessing(recipe: Recipe, horizon: float | None) -> Pipeline:
    """Unfitted steps before the learner: encode, drop what is unstable (on request), impute (with missingness
    indicators), filter, scale, select."""
    kept = recipe.kept()
    steps: list[tuple[str, BaseEstimator]] = [("encode", TableEncoder(recipe.columns))]
    if recipe.robustness is not None:
        steps[0][1].set_output(transform="pandas")  # the next step needs to know whose rows it sees
        names, wanted = tuple(input_names(recipe.columns)), recipe.robustness
        steps.append(("stable", StableFeatures(names, wanted.ratings, wanted.minimum, kept)))
        kept = tuple(range(len(kept)))
    steps += [
        # An input that is missing throughout a training fold becomes constant, and the filter drops it.
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
        ("filter", FeatureFilter(recipe.max_constant, recipe.max_correlation, kept)),
        ("scale", StandardScaler()),
    ]
    if recipe.select_k is not None:
        steps.append(("select", UnivariateSelector(recipe.select_k, recipe.kind, horizon, len(kept))))
    return Pipeline(steps)


def _required(horizon: float | None, recipe: Recipe) -> float:
    if horizon is None:
        raise ConfigError("a binary model needs a horizon", where=recipe.name, expected="months > 0")
    return horizon
