"""ComBat: differences in location and scale between sites are estimated on training rows only, and removed.

Parametric empirical Bayes as published: for each site, the priors come from all inputs. The outcome is not looked at.

References
----------
Johnson, Li, Rabinovic 2007, doi:10.1093/biostatistics/kxj037; in imaging: Fortin et al. 2018,
doi:10.1016/j.neuroimage.2017.11.024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.outcome import Floats

Unseen = Literal["refuse", "reference", "flag"]
Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.object_]
_TOLERANCE = 1e-12
_MAX_STEPS = 10_000
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class SiteTable:
    """Site of each patient, and what explains values besides (n x c, NaN is missing).

    Parameters
    ----------
    patients
        n keys.
    labels
        n names of sites; empty where unknown.
    covariates
        n x c.
    """

    patients: pd.Index
    labels: Labels
    covariates: Floats

    def __deepcopy__(self, memo: dict[int, Any]) -> SiteTable:
        """Itself: scikit-learn copies the parameters of what it clones, and this is never changed."""
        return self

    def of(self, patients: pd.Index) -> tuple[Labels, Floats]:
        """Labels and covariates of some patients.

        Raises
        ------
        InputError
            If a patient is not in the table.
        """
        rows = self.patients.get_indexer(patients)
        if absent := int((rows < 0).sum()):
            raise InputError(f"{absent} patients have no row in the table of sites", where="harmonisation")
        return self.labels[rows], self.covariates[rows]


@dataclass(frozen=True)
class Harmonisation:
    """What a recipe asks for.

    Parameters
    ----------
    sites
        Site of each patient.
    unseen
        What becomes of a patient of a site that was not learned. ``refuse``; ``reference``: all values are brought to
        the reference site, and the patient passes as if of it; ``flag``: passes unchanged, and the prediction says so.
    reference
        Site that the others are brought to; needed by ``reference``.
    min_patients
        Training patients that a site needs to be learned.

    Raises
    ------
    ConfigError
        If these contradict each other.
    """

    sites: SiteTable
    unseen: Unseen = "refuse"
    reference: str | None = None
    min_patients: int = 5

    def __post_init__(self) -> None:
        if self.unseen not in get_args(Unseen) or self.min_patients < 2:
            raise ConfigError("harmonisation is out of range", expected="refuse, reference or flag; min_patients >= 2")
        if (self.unseen == "reference") != (self.reference is not None):
            raise ConfigError(
                "harmonisation names a reference site exactly if unseen sites are to pass as of it",
                expected="both `unseen: reference` and `reference: SITE`, or neither",
            )

    def inner_settings(self, patients: pd.Index) -> dict[str, Any]:
        """Parameters of the step in an inner fold. Sites are checked in the outer folds before the first fit; an inner
        fold may lack one without harm, and then its patients pass as they are."""
        known = learned_sites(self.sites.of(patients)[0], self.min_patients)
        if self.unseen == "refuse" or (self.unseen == "reference" and self.reference not in known):
            return {"harmonise__unseen": "flag", "harmonise__reference": None}
        return {}


@dataclass(frozen=True)
class CombatState:
    """What ComBat learned, as plain numbers: s sites, p inputs, c covariates.

    ``shift`` and ``scale`` are s x p in units of ``spread``; ``grand`` (p) and ``effects`` (c x p) make the mean.
    """

    sites: tuple[str, ...]
    grand: Floats
    effects: Floats
    spread: Floats
    shift: Floats
    scale: Floats


def fit_combat(X: Floats, site: Labels, covariates: Floats, *, reference: str | None = None) -> CombatState:
    """Estimate ComBat.

    Parameters
    ----------
    X
        n x p; NaN is missing. Every site needs two values of every input, and no input may be constant.
    site
        n names.
    covariates
        n x c, finite (c may be 0): differences they explain are kept.
    reference
        Site that the others are brought to; by default the mean of all.

    Raises
    ------
    InputError
        If covariates and sites cannot be told apart.
    """
    names, code = np.unique(np.asarray(site, dtype=object).astype(str), return_inverse=True)
    indicator = np.equal.outer(code, np.arange(names.size)).astype(float)
    design = np.hstack((indicator, covariates))
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError(
            "sites and covariates cannot be told apart", where="harmonisation",
            expected="covariates that vary within sites", remedy="remove covariates",
        )  # fmt: skip
    known = ~np.isnan(X)
    beta = _least_squares(design, X, known)
    count = indicator.T @ known
    fitted = design @ beta
    residual = np.where(known, X - fitted, 0.0)
    if reference is None:
        grand = (count * beta[: names.size]).sum(axis=0) / count.sum(axis=0)
        spread = np.sqrt((residual**2).sum(axis=0) / known.sum(axis=0))
    else:
        here = code == int(np.flatnonzero(names == reference)[0])
        grand = beta[int(np.flatnonzero(names == reference)[0])]
        spread = np.sqrt((residual[here] ** 2).sum(axis=0) / known[here].sum(axis=0))
    effects = beta[names.size :]
    z = np.where(known, (X - grand - covariates @ effects) / spread, 0.0)
    shift = indicator.T @ z / count
    squares = indicator.T @ np.where(known, (z - shift[code]) ** 2, 0.0)
    shift, scale = shrink(shift, squares / (count - 1), count, *priors(shift, squares / (count - 1)))
    if reference is not None:
        shift[names == reference], scale[names == reference] = 0.0, 1.0
    return CombatState(tuple(map(str, names)), grand, effects, spread, shift, scale)


def apply_combat(state: CombatState, X: Floats, site: Labels, covariates: Floats) -> Floats:
    """Values without the differences between sites; rows of sites that are not known stay as they are."""
    code = pd.Index(state.sites).get_indexer(pd.Index(np.asarray(site, dtype=object)))
    rows = np.flatnonzero(code >= 0)
    mean = state.grand + covariates[rows] @ state.effects
    z = ((X[rows] - mean) / state.spread - state.shift[code[rows]]) / np.sqrt(state.scale[code[rows]])
    out = np.array(X, dtype=float, copy=True)
    out[rows] = z * state.spread + mean
    return out


def priors(shift: Floats, scale: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Normal prior (mean, variance) of the shifts and inverse-gamma prior (shape, rate) of the scales of each site, by
    moments over its inputs; s x 1 each."""
    mean, variance = scale.mean(axis=1, keepdims=True), scale.var(axis=1, ddof=1, keepdims=True)
    # Inputs that agree to the last digit: an all but fixed prior.
    variance = np.maximum(variance, 1e-12 * mean**2)
    tau = np.maximum(shift.var(axis=1, ddof=1, keepdims=True), 1e-300)
    rate = (mean * variance + mean**3) / variance
    return shift.mean(axis=1, keepdims=True), tau, (2 * variance + mean**2) / variance, rate


def shrink(
    shift: Floats, scale: Floats, count: Floats, centre: Floats, tau: Floats, shape: Floats, rate: Floats
) -> tuple[Floats, Floats]:
    """Posterior shifts and scales: the two conditional means in turn until neither changes.

    Parameters
    ----------
    shift, scale, count
        Mean, variance (n - 1) and number of the standardised values, s x p.
    centre, tau, shape, rate
        Priors, as from :func:`priors`.

    Raises
    ------
    InputError
        If it does not converge.
    """
    new, spread = shift.copy(), scale.copy()
    for _ in range(_MAX_STEPS):
        before = new, spread
        new = (tau * count * shift + spread * centre) / (tau * count + spread)
        spread = (0.5 * ((count - 1) * scale + count * (shift - new) ** 2) + rate) / (count / 2 + shape - 1)
        change = max(float(np.abs(new - before[0]).max()), float(np.abs(spread / before[1] - 1).max()))
        if change < _TOLERANCE:
            return new, spread
    raise InputError("harmonisation does not converge", where="harmonisation", got=f"a change of {change:.2g}")


def _least_squares(design: Floats, X: Floats, known: Flags) -> Floats:
    """Coefficients of each input on the rows that have it; inputs of the same rows are solved at once."""
    beta = np.empty((design.shape[1], X.shape[1]))
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        inputs = np.ravel(which) == number
        beta[:, inputs] = np.linalg.lstsq(design[rows], X[np.ix_(rows, inputs)], rcond=None)[0]
    return beta


class ComBat(TransformerMixin, BaseEstimator):
    """ComBat as a step of a pipeline: the site of a row is that of the patient in the index of its table.

    Sites with few training patients are not learned. Inputs that are constant, or of which a learned site has fewer
    than two values, stay as they are; so does everything if fewer than two sites are learned.

    Parameters
    ----------
    inputs
        Positions of the inputs to harmonise.
    sites, unseen, reference, min_patients
        See :class:`Harmonisation`.

    Attributes
    ----------
    learned_
        Names of the learned sites.
    state_
        :class:`CombatState`, or None if there was nothing to learn.
    harmonised_
        Positions of the harmonised inputs.
    """

    def __init__(
        self, inputs: tuple[int, ...], sites: SiteTable, unseen: Unseen = "refuse", reference: str | None = None,
        min_patients: int = 5,
    ) -> None:  # fmt: skip
        self.inputs = inputs
        self.sites = sites
        self.unseen = unseen
        self.reference = reference
        self.min_patients = min_patients

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn the sites of the training patients.

        Raises
        ------
        InputError
            If ``X`` is no table, a patient has no site row, or the reference site has too few patients.
        """
        values, site, covariates = self._rows(X)
        self.columns_ = X.shape[1]
        self.medians_ = _medians(covariates)
        self.learned_ = learned_sites(site[~np.isnan(values).all(axis=1)], self.min_patients)
        if self.reference is not None and self.reference not in self.learned_:
            raise InputError(
                "the reference site has too few training patients", where="harmonisation",
                expected=f"at least {self.min_patients}",
            )  # fmt: skip
        rows = np.isin(site, self.learned_)
        usable = _usable(values[rows], site[rows], self.reference)
        self.harmonised_ = np.asarray(self.inputs, dtype=np.intp)[usable]
        self.state_ = None
        # One input has no others to learn a prior from.
        if len(self.learned_) > 1 and usable.sum() > 1:
            filled = np.where(np.isnan(covariates), self.medians_, covariates)
            state = fit_combat(values[np.ix_(rows, usable)], site[rows], filled[rows], reference=self.reference)
            self.state_ = state
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The table with harmonised inputs.

        Raises
        ------
        InputError
            If a patient is of a site that was not learned and the policy is to refuse.
        """
        check_is_fitted(self)
        _, site, covariates = self._rows(X)
        if X.shape[1] != self.columns_:
            raise InputError("harmonisation got another table", expected=f"{self.columns_} inputs", got=str(X.shape[1]))
        strange = self.of_unseen_site(X)
        if self.unseen == "refuse" and strange.any():
            raise InputError(
                f"{int(strange.sum())} patients are of sites that harmonisation did not learn", where="harmonisation",
                expected=f"one of {len(self.learned_)} learned sites", remedy="choose the policy reference or flag",
            )  # fmt: skip
        out = X.to_numpy(dtype=float, copy=True)
        if self.state_ is not None:
            filled = np.where(np.isnan(covariates), self.medians_, covariates)
            out[:, self.harmonised_] = apply_combat(self.state_, out[:, self.harmonised_], site, filled)
        return pd.DataFrame(out, index=X.index, columns=X.columns)

    def of_unseen_site(self, X: pd.DataFrame) -> Flags:
        """Who is of a site that was not learned (an unknown site is none)."""
        check_is_fitted(self)
        return np.asarray(~np.isin(self.sites.of(X.index)[0], self.learned_))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """The names that came in."""
        return np.asarray(input_features, dtype=object)

    def _rows(self, X: pd.DataFrame) -> tuple[Floats, Labels, Floats]:
        if not isinstance(X, pd.DataFrame):
            raise InputError("harmonisation needs a table, to know whose rows it sees", got=type(X).__name__)
        return X.to_numpy(dtype=float)[:, list(self.inputs)], *self.sites.of(X.index)


def learned_sites(site: Labels, min_patients: int) -> tuple[str, ...]:
    """Sites with enough patients, by name; the unknown site is none.

    >>> learned_sites(np.array(["b", "a", "b", "", ""], dtype=object), 2)
    ('b',)
    """
    names, counts = np.unique(site.astype(str), return_counts=True)
    return tuple(str(n) for n, count in zip(names, counts, strict=True) if n and count >= min_patients)


def _usable(values: Floats, site: Labels, reference: str | None) -> Flags:
    """Inputs that every site has twice, and that vary within sites (within the reference, where there is one)."""
    usable = np.ones(values.shape[1], dtype=bool)
    within = np.zeros(values.shape[1])
    size = np.zeros(values.shape[1])
    for name in np.unique(site.astype(str)):
        here = values[site == name]
        known = ~np.isnan(here)
        count = known.sum(axis=0)
        usable &= count >= 2
        mean = np.where(known, here, 0.0).sum(axis=0) / np.maximum(count, 1)
        size = np.maximum(size, np.abs(mean))
        if reference is None or name == reference:
            within += np.where(known, (here - mean) ** 2, 0.0).sum(axis=0)
    return usable & (np.sqrt(within) > _CONSTANT * np.maximum(size, 1e-300))


def _medians(covariates: Floats) -> Floats:
    """Median of each covariate; 0 where nobody has it."""
    known = [column[~np.isnan(column)] for column in covariates.T]
    return np.array([np.median(column) if column.size else 0.0 for column in known])
