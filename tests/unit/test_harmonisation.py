"""ComBat as a step: what it removes, what it keeps, whom it does not know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table, number_columns
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.checks import check_design
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.harmonisation import ComBat, Harmonisation, SiteTable, apply_combat, fit_combat
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, nested_cv

N = 120
SITE = np.array([f"site{i % 3}" for i in range(N)], dtype=object)
SETTINGS = {"endpoint": "dfs", "horizon": None, "inner_folds": 3, "seed": 5}


def table(seed: int = 0, *, p: int = 8) -> pd.DataFrame:
    """Noise whose location and scale differ between sites."""
    X = noise_table(N, p, seed)
    generator = np.random.default_rng([seed, 1])
    shift, scale = 2 * generator.normal(size=(3, p)), np.exp(0.5 * generator.normal(size=(3, p)))
    code = np.arange(N) % 3
    return X * scale[code] + shift[code]


def sites(X: pd.DataFrame, labels: np.ndarray = SITE, covariates: np.ndarray | None = None) -> SiteTable:
    return SiteTable(X.index, labels, np.empty((len(X), 0)) if covariates is None else covariates)


def step(X: pd.DataFrame, **settings: object) -> ComBat:
    return ComBat(tuple(range(X.shape[1])), sites(X), **settings)


def spread_between(values: np.ndarray, site: np.ndarray) -> float:
    means = np.array([values[site == name].mean(axis=0) for name in np.unique(site)])
    return float(means.std(axis=0).mean())


def test_differences_between_sites_go():
    X = table()
    combat = step(X).fit(X)
    out = combat.transform(X).to_numpy()
    assert spread_between(out, SITE) < 0.1 * spread_between(X.to_numpy(), SITE)
    ratio = out[SITE == "site0"].std(axis=0) / out[SITE == "site1"].std(axis=0)
    assert np.abs(np.log(ratio)).max() < 0.25
    assert combat.learned_ == ("site0", "site1", "site2")


def test_what_covariates_explain_stays():
    """A covariate that is more common at one site: without it ComBat removes its effect, with it the effect stays."""
    generator = np.random.default_rng(3)
    old = (generator.random(N) < np.where(SITE == "site0", 0.9, 0.2)).astype(float)
    X = noise_table(N, 6, 3) + 3 * old[:, None]
    slopes = []
    for covariates in (None, old[:, None]):
        out = ComBat(tuple(range(6)), sites(X, covariates=covariates)).fit(X).transform(X).to_numpy()
        slopes.append((out[old == 1].mean(axis=0) - out[old == 0].mean(axis=0)).mean())
    assert slopes[1] == pytest.approx(3, abs=0.3)
    assert slopes[0] < slopes[1] - 0.5


def test_test_rows_have_no_say():
    X = table()
    train = X.index[:80]
    combat = step(X).fit(X.loc[train])
    changed = X.copy()
    changed.loc[X.index[80:]] *= 50
    again = step(X).fit(changed.loc[train])
    pd.testing.assert_frame_equal(combat.transform(X.loc[train]), again.transform(X.loc[train]), check_exact=True)
    one = combat.transform(X.iloc[[100]])
    pd.testing.assert_frame_equal(one, combat.transform(X).iloc[[100]], check_exact=True)


def test_missing_values_stay_missing_and_only_given_inputs_change():
    X = table()
    X.iloc[::7, 2] = np.nan
    combat = ComBat((2, 3, 4), sites(X)).fit(X)
    out = combat.transform(X)
    assert (out["x2"].isna() == X["x2"].isna()).all()
    pd.testing.assert_frame_equal(out[["x0", "x1", "x5"]], X[["x0", "x1", "x5"]], check_exact=True)
    assert spread_between(out[["x3"]].to_numpy(), SITE) < 0.2
    complete = ComBat((3, 4), sites(X)).fit(X)
    assert complete.state_ is not None
    np.testing.assert_allclose(complete.state_.spread, combat.state_.spread[1:])


def test_inputs_that_cannot_be_harmonised_stay():
    X = table()
    X["x1"] = 4.0
    X.loc[SITE == "site2", "x5"] = np.nan
    combat = step(X).fit(X)
    assert combat.harmonised_.tolist() == [0, 2, 3, 4, 6, 7]
    out = combat.transform(X)
    pd.testing.assert_frame_equal(out[["x1", "x5"]], X[["x1", "x5"]], check_exact=True)


def test_unseen_sites():
    X = table()
    labels = SITE.copy()
    labels[:3] = "elsewhere"
    labels[3] = ""
    strange = np.arange(N) < 4

    def fitted(**settings: object) -> ComBat:
        return ComBat(tuple(range(8)), sites(X, labels), **settings).fit(X)

    with pytest.raises(InputError, match="4 patients are of sites that harmonisation did not learn"):
        fitted().transform(X)
    flagging = fitted(unseen="flag")
    assert (flagging.of_unseen_site(X) == strange).all()
    assert (flagging.transform(X)[strange] == X[strange]).all(axis=None)
    referring = fitted(unseen="reference", reference="site1")
    passes = strange | (labels == "site1")
    out = referring.transform(X)
    np.testing.assert_allclose(out[passes], X[passes], atol=1e-12)
    assert (out[~passes] != X[~passes]).all(axis=None)
    assert spread_between(out[~strange].to_numpy(), SITE[~strange]) < 0.3
    with pytest.raises(InputError, match="reference site has too few"):
        fitted(unseen="reference", reference="elsewhere")


def test_one_site_is_left_alone():
    X = table()
    combat = ComBat(tuple(range(8)), sites(X, np.array(["a"] * N, dtype=object))).fit(X)
    assert combat.state_ is None
    pd.testing.assert_frame_equal(combat.transform(X), X, check_exact=True)


def test_conventions():
    X = table()
    combat = step(X)
    assert clone(combat).get_params()["sites"] is combat.sites
    with pytest.raises(NotFittedError):
        combat.transform(X)
    with pytest.raises(InputError, match="needs a table"):
        combat.fit(X.to_numpy())
    with pytest.raises(InputError, match="no row in the table of sites"):
        combat.fit(X.rename(index={X.index[0]: "nobody"}))
    with pytest.raises(InputError, match="another table"):
        combat.fit(X).transform(X.assign(more=1.0))
    assert combat.get_feature_names_out(["a"]).tolist() == ["a"]


def test_sites_and_covariates_that_cannot_be_told_apart():
    X = table()
    only_there = (SITE == "site0").astype(float)[:, None]
    with pytest.raises(InputError, match="cannot be told apart"):
        ComBat(tuple(range(8)), sites(X, covariates=only_there)).fit(X)


def test_settings_that_contradict_each_other():
    made = sites(table())
    for settings in ({"unseen": "reference"}, {"reference": "a"}, {"unseen": "guess"}, {"min_patients": 1}):
        with pytest.raises(ConfigError, match="harmonisation"):
            Harmonisation(made, **settings)


def test_plain_numbers_reproduce_the_step():
    X = table()
    combat = step(X).fit(X)
    made = apply_combat(combat.state_, X.to_numpy(), SITE, np.empty((N, 0)))
    assert (made == combat.transform(X).to_numpy()).all()
    pd.testing.assert_frame_equal(
        pd.DataFrame(fit_combat(X.to_numpy(), SITE, np.empty((N, 0))).shift), pd.DataFrame(combat.state_.shift)
    )


def recipe(X: pd.DataFrame, labels: np.ndarray = SITE, **settings: object) -> Recipe:
    columns = tuple(ColumnSpec(c.name, block="radiomics") for c in number_columns(8))
    wanted = Harmonisation(sites(X, labels), **settings)
    return Recipe("all", columns, "ridge", "time_to_event", harmonisation=wanted)


def test_inside_the_fold():
    """The site tells the outcome and shifts the inputs: unharmonised inputs predict, harmonised ones know nothing."""
    X = table()
    y = draw_outcome(np.where(SITE == "site0", 1.5, 0.0), 0)
    folds = deal_folds(X.index, folds=3, repeats=1, seed=0)
    plain = Recipe("all", recipe(X).columns, "ridge", "time_to_event")
    raw = nested_cv(X, y, folds, plain, **SETTINGS)
    harmonised = nested_cv(X, y, folds, recipe(X), **SETTINGS)
    spread = [result.predictions.groupby(SITE[X.index.get_indexer(result.predictions["patient_id"])])["risk"].mean()
              for result in (raw, harmonised)]  # fmt: skip
    assert spread[1].std() < 0.3 * spread[0].std()
    assert "site_unseen" not in raw.predictions
    assert not harmonised.predictions["site_unseen"].any()
    twice = nested_cv(X, y, folds, recipe(X), **SETTINGS, jobs=2)
    pd.testing.assert_frame_equal(harmonised.predictions, twice.predictions, check_exact=True)


def test_a_site_of_the_test_fold_only():
    X = table()
    y = draw_outcome(np.zeros(N), 0)
    folds = pd.DataFrame({"patient_id": X.index, "repeat": 0, "fold": np.arange(N) % 3})
    request = {"endpoint": "dfs", "horizon": None, "min_events": 5}
    with pytest.raises(InputError, match="repeat 0, fold 0: 40 test patients are of sites"):
        check_design(X, y, folds, recipe(X), **request)
    with pytest.raises(InputError, match="fold 1: the reference site has 0 training patients"):
        check_design(X, y, folds, recipe(X, unseen="reference", reference="site1"), **request)
    flagging = recipe(X, unseen="flag")
    check_design(X, y, folds, flagging, **request)
    assert nested_cv(X, y, folds, flagging, **SETTINGS).predictions["site_unseen"].all()


def test_is_not_delivered():
    X = table()
    y = draw_outcome(X["x0"].to_numpy(), 0)
    pipeline = fit_final(X, y, recipe(X), **SETTINGS)
    with pytest.raises(ConfigError, match="cannot be frozen"):
        freeze(pipeline)


def test_an_inner_fold_may_lack_a_site():
    X = table()
    labels = SITE.copy()
    labels[30:] = np.where(labels[30:] == "site1", "site2", labels[30:])
    y = draw_outcome(X["x0"].to_numpy(), 0)
    scarce = recipe(X, labels, unseen="reference", reference="site1", min_patients=9)
    assert scarce.harmonisation.inner_settings(X.index) == {}
    assert scarce.harmonisation.inner_settings(X.index[:20])["harmonise__unseen"] == "flag"
    pipeline = fit_final(X, y, scarce, **SETTINGS)
    assert pipeline.named_steps["harmonise"].reference == "site1"
    assert fit_final(X, y, recipe(X, labels), **SETTINGS).named_steps["harmonise"].unseen == "refuse"
