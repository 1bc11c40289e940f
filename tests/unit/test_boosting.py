"""The owner of xgboost: exact storage, exact attributions, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.boosting import (
    BoosterSettings,
    booster_from_json,
    booster_to_json,
    contributions,
    margins,
    train_booster,
)


def _train(objective: str, seed: int = 0, **settings: float) -> tuple:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(90, 5))
    label = generator.exponential(np.exp(-X[:, 0])) * generator.choice([1, -1], 90)
    if objective == "binary:logistic":
        label = (label > 0).astype(float)
    booster = train_booster(X, label, np.ones(90), objective=objective, settings=BoosterSettings(**settings), seed=seed)
    return booster, X


@pytest.mark.parametrize("objective", ["binary:logistic", "survival:cox"])
def test_json_restores_exactly(objective: str) -> None:
    booster, X = _train(objective)
    content = booster_to_json(booster)
    again = booster_from_json(content, inputs=5)
    assert (margins(again, X) == margins(booster, X)).all()
    assert booster_to_json(again) == content


@pytest.mark.parametrize("objective", ["binary:logistic", "survival:cox"])
def test_attributions_sum_to_the_margin(objective: str) -> None:
    booster, X = _train(objective)
    values, base = contributions(booster, X)
    assert values.shape == (90, 5)
    np.testing.assert_allclose(values.sum(axis=1) + base, margins(booster, X), atol=1e-5)


def test_same_data_same_bytes() -> None:
    assert booster_to_json(_train("survival:cox")[0]) == booster_to_json(_train("survival:cox")[0])


def test_first_rounds_equal_a_shorter_model() -> None:
    long, X = _train("survival:cox", rounds=60)
    short, _ = _train("survival:cox", rounds=20)
    assert (margins(long, X, rounds=20) == margins(short, X)).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'{"learner": 1}',
        b'{"learner": {"gradient_booster": {"name": "gbtree"}}}',
        b"\x00\xff",
        b"[" * 100_000,
    ],
    ids=["empty", "no keys", "a list", "text", "no learner", "no trees", "bytes", "deep"],
)
def test_refuses_what_is_no_model(content: bytes) -> None:
    with pytest.raises(InputError, match="trees"):
        booster_from_json(content, inputs=5)


def test_refuses_another_number_of_inputs() -> None:
    booster, _ = _train("survival:cox")
    with pytest.raises(InputError, match="another number of inputs; expected 4; got 5"):
        booster_from_json(booster_to_json(booster), inputs=4)
