"""Late fusion and stacking: by hand, on noise, and with a block that is not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import draw_outcome, noise_table
from sklearn.pipeline import Pipeline

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.discrimination import harrell_c
from radiomics_crlm.evaluation.outcome import horizon_labels
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.estimators import (
    LateFusionCox,
    LateFusionLogistic,
    RidgeCox,
    RidgeLogistic,
    StackingCox,
    StackingLogistic,
)
from radiomics_crlm.modelling.recipe import Recipe, candidates, informed, preprocessing

BLOCKS = ("clinical", "radiomics", "clinical", "radiomics")
EVERY = [
    LateFusionLogistic(24.0, blocks=BLOCKS),
    LateFusionCox(blocks=BLOCKS),
    StackingLogistic(24.0, blocks=BLOCKS),
    StackingCox(blocks=BLOCKS),
]


def _data(seed: int, effect: tuple[float, ...] = (1.0, 1.0, 0.0, 0.0), n: int = 200) -> tuple:
    X = noise_table(n, 4, seed).to_numpy()
    return X, draw_outcome(X @ np.array(effect), seed)


@pytest.mark.parametrize("binary", [True, False])
def test_late_fusion_is_the_mean_of_the_standardised_parts(binary: bool) -> None:
    X, y = _data(0)
    clinical, radiomics = X[:, [0, 2]], X[:, [1, 3]]
    parts = [RidgeLogistic(24.0, 0.3), RidgeLogistic(24.0, 1.0)] if binary else [RidgeCox(0.3), RidgeCox(1.0)]
    linear = [part.fit(Z, y).risk(Z) for part, Z in zip(parts, (clinical, radiomics), strict=True)]
    width = np.mean([part.std() for part in linear])
    expected = width * np.mean([(part - part.mean()) / part.std() for part in linear], axis=0)
    fused = LateFusionLogistic(24.0, 0.3, 1.0, BLOCKS) if binary else LateFusionCox(0.3, 1.0, BLOCKS)
    found = fused.fit(X, y).risk(X)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-8)


def test_mean_probability_is_the_incidence() -> None:
    X, y = _data(1)
    label, weight = horizon_labels(y, 24.0)
    for fused in (LateFusionLogistic(24.0, blocks=BLOCKS), StackingLogistic(24.0, blocks=BLOCKS)):
        p = fused.fit(X, y).probability(X, [24.0])[:, 0]
        assert weight @ p / weight.sum() == pytest.approx(weight @ label / weight.sum(), abs=1e-9)


@pytest.mark.parametrize("stacked", [StackingLogistic(24.0, blocks=BLOCKS), StackingCox(blocks=BLOCKS)])
def test_stacking_leaves_out_a_part_of_noise(stacked: object) -> None:
    """Late fusion cannot: that is the difference."""
    weights = []
    for seed in range(8):
        X, y = _data(seed, (1.0, 0.0, 0.5, 0.0))
        fitted = stacked.fit(X, y)
        assert (fitted.weights_ >= 0).all()
        parts = [np.abs(fitted.coef_[[0, 2]]).sum(), np.abs(fitted.coef_[[1, 3]]).sum()]
        weights.append(parts[1] / parts[0])
    assert np.median(weights) < 0.15
    unseen, truth = _data(99, (1.0, 0.0, 0.5, 0.0))
    late = LateFusionCox(blocks=BLOCKS).fit(X, y).risk(unseen)
    assert harrell_c(truth, fitted.risk(unseen)) > harrell_c(truth, late) + 0.02


@pytest.mark.parametrize("learner", EVERY, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("only", ["clinical", "radiomics"])
def test_one_block_alone_orders_patients_as_its_own_model(learner: object, only: str) -> None:
    X, y = _data(2)
    alone = type(learner)(**(learner.get_params() | {"blocks": (only,) * 4})).fit(X, y)
    ridge = RidgeLogistic(24.0) if hasattr(learner, "horizon") else RidgeCox()
    assert (np.argsort(alone.risk(X)) == np.argsort(ridge.fit(X, y).risk(X))).all()


@pytest.mark.parametrize("blocks", [("clinical",), ("clinical", "radiomics", "rules", "clinical")])
def test_refuses_blocks_that_do_not_fit(blocks: tuple) -> None:
    with pytest.raises(InputError, match="blocks and inputs do not fit"):
        LateFusionCox(blocks=blocks).fit(*_data(0))


def test_stacking_refuses_a_single_event() -> None:
    X, y = _data(3)
    y["event"][np.flatnonzero(y["event"] == 1)[1:]] = 0
    with pytest.raises(InputError, match="stacking: there are too few events; expected at least 2; got 1"):
        StackingCox(blocks=BLOCKS).fit(X, y)


COLUMNS = (
    ColumnSpec("age", keep=True),
    ColumnSpec("site", "category", ("a", "b", "c"), keep=True),
    *(ColumnSpec(f"f{i}", block="radiomics") for i in range(6)),
)


def _table(n: int = 90) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    table = pd.DataFrame(generator.normal(size=(n, 6)), columns=[f"f{i}" for i in range(6)])
    table["f1"] = table["f0"]  # redundant: dropped by the filter
    table["age"], table["site"] = generator.normal(60, 9, n), generator.choice(["a", "b", "c"], n)
    table.loc[generator.random(n) < 0.3, "f2"] = np.nan
    table.loc[generator.random(n) < 0.3, "age"] = np.nan
    return table


@pytest.mark.parametrize("select_k", [None, 3])
def test_learners_are_told_the_block_of_what_filter_and_selection_leave(select_k: int | None) -> None:
    table, y = _table(), draw_outcome(_table()["f0"].to_numpy(), 5)
    recipe = Recipe("both", COLUMNS, "late_fusion", "time_to_event", select_k=select_k, max_constant=0.99)
    steps = preprocessing(recipe, None)
    inputs = steps.fit_transform(table, y)
    told = informed(candidates(recipe, None), steps)
    assert {choice.blocks for choice in told} == {told[0].blocks}
    assert len(told[0].blocks) == inputs.shape[1]
    # Standardised inputs are recognised by what they correlate with.
    full = table.assign(**{f"site={s}": (table["site"] == s) * 1.0 for s in "abc"}).drop(columns="site")
    full = full.fillna(full.median()).assign(age_missing=table["age"].isna(), f2_missing=table["f2"].isna())
    match = np.abs(np.corrcoef(inputs.T, full.to_numpy(dtype=float).T)[: inputs.shape[1], inputs.shape[1] :])
    names = full.columns[match.argmax(axis=1)]
    assert match.max(axis=1).min() > 0.999
    assert told[0].blocks == tuple("radiomics" if name.startswith("f") else "clinical" for name in names)
    assert {"clinical", "radiomics"} == set(told[0].blocks)
    Pipeline([*steps.steps, ("learner", told[0])]).fit(table, y)


def test_other_learners_are_left_alone() -> None:
    recipe = Recipe("both", COLUMNS, "ridge", "time_to_event")
    choices = candidates(recipe, None)
    assert informed(choices, preprocessing(recipe, None)) is choices


@pytest.mark.parametrize("learner", ["late_fusion", "stacking"])
def test_recipe_needs_both_blocks(learner: str) -> None:
    with pytest.raises(ConfigError, match=f"{learner} needs clinical and radiomic columns"):
        Recipe("clinical", COLUMNS[:2], learner, "binary")
    found = candidates(Recipe("both", COLUMNS, learner, "binary"), 24.0)
    assert len(found) == 25
    product = [c.penalty * c.penalty_radiomics for c in found]
    assert (np.diff(product) <= 1e-12).all()
