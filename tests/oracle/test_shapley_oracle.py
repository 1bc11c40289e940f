"""Attributions against the definition of Shapley values, summed over all coalitions, for each kind of model.

The definition is written down here once, for any game; each kind has its own game: what the model says when some
inputs are known and the others stand as its documentation says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table, number_columns

from radiomics_crlm.explanation.explainers import CARRIED_PAIRS, _references, probability_parts, risk_parts
from radiomics_crlm.explanation.sampling import _sampled, shapley_values
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.glassbox import ExplainableBoosting
from radiomics_crlm.modelling.lesions import lesion_column, unpack
from radiomics_crlm.modelling.operating import Operating
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import nested_cv, pipeline_probability

N, P = 80, 5
X = noise_table(N, P, 1)
Y = draw_outcome(X["x0"].to_numpy() * 1.2 - 0.8 * X["x1"].to_numpy() + 0.5 * X["x2"].to_numpy() ** 2, 1)
FOLDS = deal_folds(X.index, folds=2, repeats=1, seed=0)
ROWS = X.iloc[:6]
SMALL: dict[str, Any] = {"rounds": (10, 15), "depths": (2,), "trees": 6, "penalties": (0.3, 0.1), "leaves": (6, 8)}


def by_definition(worth: Callable[[tuple[int, ...]], np.ndarray], players: int) -> np.ndarray:
    """Shapley values: players x shape of a worth."""
    known = {
        chosen: np.asarray(worth(chosen), dtype=float)
        for size in range(players + 1)
        for chosen in itertools.combinations(range(players), size)
    }
    out = []
    for player in range(players):
        others = [k for k in range(players) if k != player]
        gains = [
            math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            * (known[tuple(sorted((*chosen, player)))] - known[chosen])
            for size in range(players)
            for chosen in itertools.combinations(others, size)
        ]  # fmt: skip
        out.append(np.sum(gains, axis=0))
    return np.array(out)


def fitted(learner: str, kind: str, **more: Any) -> Any:
    recipe = Recipe("all", number_columns(P), learner, kind, **SMALL, **more)  # type: ignore[arg-type]
    result = nested_cv(X, Y, FOLDS, recipe, endpoint="dfs", horizon=24.0, inner_folds=2, seed=1, min_events=5)
    train = X.loc[result.trained(0, 0).sort_values()]
    return result.models[0, 0], train


def known_elsewhere(rows: np.ndarray, other: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    mixed = np.broadcast_to(other, rows.shape).copy()
    mixed[:, list(chosen)] = rows[:, list(chosen)]
    return mixed


LINEAR = [("ridge", "binary"), ("ridge", "time_to_event"), ("elastic_net", "binary"), ("fine_gray", "time_to_event")]


@pytest.mark.parametrize(("learner", "kind"), LINEAR)
def test_linear_risk_and_probability(learner: str, kind: str) -> None:
    """Risk: unknown inputs are those of every training patient in turn. Probability: they stand at their mean."""
    pipeline, train = fitted(learner, kind)
    rows, background = (np.asarray(pipeline[:-1].transform(t)) for t in (ROWS, train))
    parts = risk_parts(pipeline, train, ROWS, seed=0)

    def risk(chosen: tuple[int, ...]) -> np.ndarray:
        return np.mean([pipeline[-1].risk(known_elsewhere(rows, b, chosen)) for b in background], axis=0)

    np.testing.assert_allclose(parts.values[:, :, 0].T, by_definition(risk, P), atol=1e-10)
    months = (24.0,) if kind == "binary" else (12.0, 24.0)
    chance = probability_parts(pipeline, ROWS, parts, months, seed=0)

    def probability(chosen: tuple[int, ...]) -> np.ndarray:
        return pipeline[-1].probability(known_elsewhere(rows, background.mean(axis=0), chosen), months)

    np.testing.assert_allclose(np.moveaxis(chance.values, 0, 1), by_definition(probability, P), atol=1e-10)


def test_probability_of_a_recalibrated_model() -> None:
    pipeline, train = fitted("ridge", "binary", operating=Operating("platt"))
    rows, background = (np.asarray(pipeline[:-1].transform(t)) for t in (ROWS, train))
    parts = risk_parts(pipeline, train, ROWS, seed=0)
    chance = probability_parts(pipeline, ROWS, parts, (24.0,), seed=0)

    def probability(chosen: tuple[int, ...]) -> np.ndarray:
        return pipeline[-1].probability(known_elsewhere(rows, background.mean(axis=0), chosen), (24.0,))

    np.testing.assert_allclose(np.moveaxis(chance.values, 0, 1), by_definition(probability, P), atol=1e-10)


def test_boosted_trees() -> None:
    """Path-dependent: where an input is unknown both ways are gone, weighted by the training weight of each."""
    pipeline, train = fitted("xgboost", "time_to_event")
    rows = np.asarray(pipeline[:-1].transform(ROWS)).astype(np.float32)
    trees = pipeline[-1].booster_.trees_to_dataframe()
    expected = np.zeros((P, len(rows)))
    for _, tree in trees.groupby("Tree"):
        nodes = tree.set_index("ID")

        def walk(name: str, row: np.ndarray, chosen: tuple[int, ...], nodes: Any = nodes) -> float:
            node = nodes.loc[name]
            if node["Feature"] == "Leaf":
                return float(node["Gain"])
            column = int(str(node["Feature"]).removeprefix("f"))
            if column in chosen:
                return walk(node["Yes"] if row[column] < np.float32(node["Split"]) else node["No"], row, chosen)
            covers = [nodes.loc[node[way], "Cover"] for way in ("Yes", "No")]
            reached = [walk(node[way], row, chosen) for way in ("Yes", "No")]
            return float(np.average(reached, weights=covers))

        first = nodes.index[nodes["Node"] == 0][0]
        expected += by_definition(lambda s, w=walk, f=first: np.array([w(f, row, s) for row in rows]), P)
    parts = risk_parts(pipeline, train, ROWS, seed=0)
    np.testing.assert_allclose(parts.values[:, :, 0].T, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["binary", "time_to_event"])
def test_probabilities_of_a_forest(kind: str) -> None:
    """Every month is an output of the trees with a game of its own."""
    pipeline, train = fitted("random_forest", kind)
    forest, rows = pipeline[-1].forest_, np.asarray(pipeline[:-1].transform(ROWS)).astype(np.float32).astype(float)
    parts = risk_parts(pipeline, train, ROWS, seed=0)
    months = tuple(pipeline[-1].months_)
    chance = probability_parts(pipeline, ROWS, parts, months, seed=0)

    def walk(node: int, row: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
        if forest.feature[node] < 0:
            return np.asarray(forest.value[node])
        left, column = int(forest.left[node]), int(forest.feature[node])
        if column in chosen:
            return walk(left + int(row[column] > forest.threshold[node]), row, chosen)
        return np.average(
            [walk(child, row, chosen) for child in (left, left + 1)], axis=0, weights=forest.cover[left : left + 2]
        )

    def worth(chosen: tuple[int, ...]) -> np.ndarray:
        return np.array([np.mean([walk(root, row, chosen) for root in forest.roots], axis=0) for row in rows])

    np.testing.assert_allclose(np.moveaxis(chance.values, 0, 1), by_definition(worth, P), atol=1e-6)
    np.testing.assert_allclose(
        chance.values.sum(axis=1) + chance.base, pipeline_probability(pipeline, ROWS, months), atol=1e-6
    )


def test_sum_of_curves() -> None:
    pytest.importorskip("interpret")
    pipeline, train = fitted("ridge", "binary")
    inputs = np.asarray(pipeline[:-1].transform(train))
    positions = X.index.get_indexer(train.index)
    pipeline.steps[-1] = ("learner", ExplainableBoosting(24.0, bags=1).fit(inputs, Y[positions]))
    rows = np.asarray(pipeline[:-1].transform(ROWS))

    def risk(chosen: tuple[int, ...]) -> np.ndarray:
        return np.mean([pipeline[-1].risk(known_elsewhere(rows, b, chosen)) for b in inputs], axis=0)

    parts = risk_parts(pipeline, train, ROWS, seed=0)
    assert parts.method == "curves"
    np.testing.assert_allclose(parts.values[:, :, 0].T, by_definition(risk, P), atol=1e-9)


@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
def test_lesions(learner: str, aggregate: str) -> None:
    """A feature is known in all lesions of a patient or in none; unknown ones are those of the reference lesions."""
    generator = np.random.default_rng(5)
    table, columns = X[["x3", "x4"]].copy(), [ColumnSpec("x3"), ColumnSpec("x4")]
    for number in (1, 2):
        for name, scale in (("lesion__a", 1.0), ("lesion__b", 0.0)):
            there = number == 1 or generator.random(N) < 0.6
            values = scale * X["x0"].to_numpy() + generator.normal(size=N)
            table[lesion_column(number, name)] = np.where(there, values, np.nan)
            columns.append(ColumnSpec(lesion_column(number, name)))
    recipe = Recipe("all", tuple(columns), learner, "time_to_event", aggregate=aggregate, **SMALL)  # type: ignore[arg-type]
    result = nested_cv(table, Y, FOLDS, recipe, endpoint="dfs", horizon=None, inner_folds=2, seed=1, min_events=5)
    pipeline, train = result.models[0, 0], table.loc[result.trained(0, 0).sort_values()]
    parts = risk_parts(pipeline, train, table.iloc[:6], seed=0)
    model = pipeline[-1]
    rows, owner = unpack(np.asarray(pipeline[:-1].transform(table.iloc[:6])), model.slots)
    lesions, _ = unpack(np.asarray(pipeline[:-1].transform(train)), model.slots)
    references = _references(model.lesion_risk, lesions)

    def worth(chosen: tuple[int, ...]) -> np.ndarray:
        summary = np.max if aggregate == "max" else np.mean
        each = [model.lesion_risk(known_elsewhere(rows, one, chosen)) for one in references]
        return np.mean([[summary(of[owner == k]) for k in range(6)] for of in each], axis=0)

    np.testing.assert_allclose(parts.values[:, :, 0].T, by_definition(worth, len(parts.names)), atol=1e-9)


def test_permutations_come_close_where_coalitions_are_too_many() -> None:
    """Probabilities of a strong linear model of ten inputs, carried by as many permutations as a run draws."""
    generator = np.random.default_rng(2)
    given, base = generator.normal(scale=0.5, size=(10, 40)), -0.3

    def game(sets: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-(base + sets.astype(float) @ given)))

    def worth(chosen: tuple[int, ...]) -> np.ndarray:
        sets = np.zeros((1, 10), dtype=bool)
        sets[0, list(chosen)] = True
        return game(sets)[0]

    expected = by_definition(worth, 10)
    found = _sampled(game, 10, CARRIED_PAIRS, 0)
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(found - expected).mean() < 0.001
    np.testing.assert_allclose(found.sum(axis=0), expected.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(shapley_values(game, 10, seed=0, pairs=CARRIED_PAIRS), expected, atol=1e-10)
