"""Gradient-boosted trees: the only owner of xgboost.

One thread, no row or column sampling, the histogram method: the same data give the same trees, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xgboost

from radiomics_crlm.errors import InputError

Floats = npt.NDArray[np.float64]
Objective = Literal["binary:logistic", "survival:cox"]
Booster: TypeAlias = xgboost.Booster


@dataclass(frozen=True)
class BoosterSettings:
    """Size and shrinkage of the trees; the defaults suit one or two hundred patients."""

    rounds: int = 100
    depth: int = 2
    learning_rate: float = 0.05
    min_child_weight: float = 5.0
    l2: float = 5.0


def train_booster(
    X: Floats, label: Floats, weight: Floats, *, objective: Objective, settings: BoosterSettings, seed: int
) -> Booster:
    """Fit trees.

    Parameters
    ----------
    X
        n x p, finite.
    label
        0/1, or for ``survival:cox`` a positive time of the event or minus the time of censoring.
    weight
        n weights.
    objective, settings, seed
        What to fit.
    """
    return xgboost.train(
        {"objective": objective, **_parameters(settings, seed)}, _matrix(X, label=label, weight=weight), settings.rounds
    )


def train_hazard_booster(
    X: Floats, derivatives: Callable[[Floats], tuple[Floats, Floats]], *, settings: BoosterSettings, seed: int
) -> Booster:
    """Fit trees for a log hazard ratio with a loss of its own.

    Parameters
    ----------
    X
        n x p, finite.
    derivatives
        First and second derivative of the loss by the n margins.
    settings, seed
        What to fit.
    """

    def objective(margin: Floats, _: xgboost.DMatrix) -> tuple[Floats, Floats]:
        return derivatives(np.asarray(margin, dtype=float))

    parameters = {"base_score": 0.0, **_parameters(settings, seed)}
    return xgboost.train(parameters, _matrix(X, label=np.zeros(len(X))), settings.rounds, obj=objective)


def train_aft_booster(
    X: Floats, lower: Floats, upper: Floats, *, center: float, distribution: str, scale: float,
    settings: BoosterSettings, seed: int,
) -> Booster:  # fmt: skip
    """Fit trees for the logarithm of the time to an event; the margin is its mean.

    Parameters
    ----------
    X
        n x p, finite.
    lower, upper
        Logarithm of the months within which the event fell: the same twice if it was seen, upper infinite if not.
    center
        Mean from which the trees start.
    distribution, scale
        ``normal``, ``logistic`` or ``extreme``, and the width.
    settings, seed
        What to fit.
    """
    parameters = {
        "objective": "survival:aft",
        "aft_loss_distribution": distribution,
        "aft_loss_distribution_scale": scale,
        # On the scale of time; xgboost takes its logarithm.
        "base_score": float(np.exp(center)),
        **_parameters(settings, seed),
    }
    bounds = {"label_lower_bound": np.exp(lower), "label_upper_bound": np.exp(upper)}
    return xgboost.train(parameters, _matrix(X, **bounds), settings.rounds)


def _parameters(settings: BoosterSettings, seed: int) -> dict[str, Any]:
    return {
        "max_depth": settings.depth,
        "eta": settings.learning_rate,
        "min_child_weight": settings.min_child_weight,
        "lambda": settings.l2,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }


def _matrix(X: Floats, **information: Any) -> xgboost.DMatrix:
    return xgboost.DMatrix(np.ascontiguousarray(X), nthread=1, **information)


def margins(booster: Booster, X: Floats, *, rounds: int = 0) -> Floats:
    """Log odds or log hazard ratio of each row, from the first ``rounds`` rounds (0 = all)."""
    if len(X) == 0:  # for no rows the shape of the answer depends on the release of xgboost
        return np.empty(0)
    return np.asarray(booster.predict(_matrix(X), output_margin=True, iteration_range=(0, rounds)), dtype=float)


def contributions(booster: Booster, X: Floats) -> tuple[Floats, Floats]:
    """Exact TreeSHAP values, n x p, and the base value of each row; together they sum to the margin (float32)."""
    if len(X) == 0:
        return np.empty((0, X.shape[1])), np.empty(0)
    values = np.asarray(booster.predict(_matrix(X), pred_contribs=True), dtype=float)
    return values[:, :-1], values[:, -1]


def booster_to_json(booster: Booster) -> bytes:
    """The trees as JSON text; :func:`booster_from_json` restores them exactly."""
    return bytes(booster.save_raw("json"))


def booster_from_json(content: bytes, *, inputs: int) -> Booster:
    """Trees from JSON.

    xgboost ends the process on a malformed model, so the document is recognised before it is handed over. The
    trees inside are trusted: whoever takes them from a stranger checks them first, as ``scoring`` does for
    bundles.

    Raises
    ------
    InputError
        If this is no such model, or one for another number of inputs.
    """
    found = _inputs_of(content)
    if found != inputs:
        raise InputError(
            "the trees are for another number of inputs", where="booster", expected=str(inputs), got=str(found)
        )
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(content))
    return booster


def _inputs_of(content: bytes) -> int:
    """Number of inputs that a stored model declares."""
    try:
        learner = json.loads(content)["learner"]
        if learner["gradient_booster"]["name"] == "gbtree" and learner["gradient_booster"]["model"]["trees"]:
            return int(learner["learner_model_param"]["num_feature"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InputError("the trees cannot be read", where="booster", expected="the JSON of a boosted tree model")
