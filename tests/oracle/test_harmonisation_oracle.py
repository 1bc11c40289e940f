"""ComBat against combatlearn and against the published formulas written plainly.

combatlearn takes its priors over the sites for each input, the publication over the inputs of each site. So its
closed-form parts are compared, and its shrinkage with its own priors; the published priors are checked against a plain
transcription.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from combatlearn import ComBat as Reference
from combatlearn.core import ComBatModel
from oracle_comparison import Compare, oracle

from radiomics_crlm.modelling.harmonisation import ComBat, SiteTable, apply_combat, fit_combat, priors, shrink


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, sites and one covariate."""
    generator = np.random.default_rng(seed)
    sites, p, c = int(generator.integers(2, 5)), int(generator.integers(3, 15)), int(generator.integers(0, 2))
    n = sites * int(generator.integers(8, 25))
    code = generator.permutation(np.arange(n) % sites)
    covariates = generator.normal(size=(n, c))
    X = generator.normal(size=(n, p)) * np.exp(0.4 * generator.normal(size=(sites, p)))[code]
    X += generator.normal(size=(sites, p))[code] + covariates @ generator.normal(size=(c, p))
    return X, np.array([f"s{i}" for i in code], dtype=object), covariates


def reference(
    X: np.ndarray, site: np.ndarray, covariates: np.ndarray, **settings: object
) -> tuple[Reference, np.ndarray]:
    frame = pd.DataFrame(X)
    extra = {"continuous_covariates": pd.DataFrame(covariates)} if covariates.shape[1] else {}
    combat = Reference(pd.Series(site, index=frame.index), method="fortin", eps=1e-300, **extra, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return combat, combat.fit_transform(frame).to_numpy()


@oracle("ComBat: means, variances, effects", against="combatlearn", covers=("harmonisation.fit_combat",))
def test_closed_form_parts(compare: Compare) -> None:
    for seed in compare:
        X, site, covariates = draw(seed)
        state = fit_combat(X, site, covariates)
        model = reference(X, site, covariates)[0]._model
        compare(seed, state.grand, np.ravel(model._grand_mean))
        compare(seed, state.spread**2, np.ravel(model._pooled_var))
        compare(seed, state.effects, model._beta_hat_nonbatch)


@oracle(
    "ComBat: shrinkage and adjustment, with the priors of combatlearn",
    against="combatlearn",
    covers=("harmonisation.fit_combat", "harmonisation.apply_combat", "harmonisation.shrink"),
)
@pytest.mark.parametrize("reference_site", [None, "s1"])
def test_shrinkage_and_adjustment_with_the_priors_of_combatlearn(
    compare: Compare, reference_site: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over_sites(shift: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
        mean, variance = scale.mean(axis=0), scale.var(axis=0, ddof=1)
        shape = mean**2 / variance + 2
        return shift.mean(axis=0), shift.var(axis=0, ddof=1), shape, mean * (shape - 1)

    monkeypatch.setattr("radiomics_crlm.modelling.harmonisation.priors", over_sites)
    # By default it stops at a relative change of 1e-4.
    settings = {"tol": 1e-13, "max_iter": 3000}
    for name, value in settings.items():
        monkeypatch.setitem(ComBatModel._shrink_gamma_delta.__kwdefaults__, name, value)
    for seed in compare:
        X, site, covariates = draw(seed)
        expected = reference(X, site, covariates, reference_batch=reference_site)[1]
        state = fit_combat(X, site, covariates, reference=reference_site)
        found = apply_combat(state, X, site, covariates)
        compare(seed, found, expected)


def plain_shrinkage(shift: np.ndarray, scale: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Johnson et al. 2007, one site at a time, as the functions aprior, bprior, postmean and postvar of sva."""
    new, spread = shift.copy(), scale.copy()
    for i in range(len(shift)):
        m, s2 = scale[i].mean(), scale[i].var(ddof=1)
        a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
        centre, t2, n = shift[i].mean(), shift[i].var(ddof=1), count[i]
        g, d = shift[i].copy(), scale[i].copy()
        for _ in range(300):
            g = (t2 * n * shift[i] + d * centre) / (t2 * n + d)
            d = (0.5 * ((n - 1) * scale[i] + n * (shift[i] - g) ** 2) + b) / (n / 2 + a - 1)
        new[i], spread[i] = g, d
    return new, spread


@oracle(
    "ComBat: published priors and shrinkage",
    against="written plainly (Johnson et al. 2007, doi:10.1093/biostatistics/kxj037)",
    covers=("harmonisation.priors", "harmonisation.shrink"),
)
def test_published_priors(compare: Compare) -> None:
    for seed in compare:
        generator = np.random.default_rng(seed)
        shape = (int(generator.integers(2, 5)), int(generator.integers(2, 15)))
        shift, scale = generator.normal(size=shape), generator.gamma(5, 0.2, size=shape)
        count = generator.integers(4, 30, (shape[0], 1)).astype(float)
        found = shrink(shift, scale, count, *priors(shift, scale))
        compare(seed, np.stack(found), np.stack(plain_shrinkage(shift, scale, count)))


@oracle(
    "ComBat: the whole step",
    against="written plainly (Johnson et al. 2007, doi:10.1093/biostatistics/kxj037)",
    covers=("harmonisation.fit_combat", "harmonisation.apply_combat", "harmonisation.ComBat"),
)
def test_whole_step_written_plainly(compare: Compare) -> None:
    """Without covariates and missing values: standardise, shrink, put back."""
    for seed in compare:
        X, site, _ = draw(seed)
        names = np.unique(site)
        inside = [site == name for name in names]
        count = np.array([[rows.sum()] for rows in inside], dtype=float)
        grand = X.mean(axis=0)
        fitted = sum(np.where(rows[:, None], X[rows].mean(axis=0), 0.0) for rows in inside)
        spread = np.sqrt(((X - fitted) ** 2).mean(axis=0))
        z = (X - grand) / spread
        shift = np.array([z[rows].mean(axis=0) for rows in inside])
        scale = np.array([z[rows].var(axis=0, ddof=1) for rows in inside])
        shift, scale = plain_shrinkage(shift, scale, count)
        expected = X.copy()
        for i, rows in enumerate(inside):
            expected[rows] = (z[rows] - shift[i]) / np.sqrt(scale[i]) * spread + grand
        none = np.empty((len(X), 0))
        compare(seed, apply_combat(fit_combat(X, site, none), X, site, none), expected)
        frame = pd.DataFrame(X)
        step = ComBat(tuple(range(X.shape[1])), SiteTable(frame.index, site, none), min_patients=2)
        compare(seed, step.fit(frame).transform(frame), expected)
