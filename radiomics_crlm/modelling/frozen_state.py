"""What a frozen model is made of, as strict data: nothing in it is trusted before it is checked."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.columns import ColumnSpec, check_columns, input_names
from radiomics_crlm.modelling.log_time import Distribution, LogTime
from radiomics_crlm.modelling.risk import Baseline
from radiomics_crlm.modelling.trees import MOST_LEAVES, Forest

FORMAT = 1
"""Raised when a state written before could be read wrongly afterwards."""
_MOST_TREES = 2000

Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
Position = Annotated[int, Field(ge=0)]
# What points nowhere is -1, and nothing is larger than the largest file has bytes.
Link = Annotated[int, Field(ge=-1, lt=2**31)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _ColumnState(_Strict):
    name: str
    kind: Literal["number", "boolean", "category"]
    categories: list[str]
    log: bool


class _BaselineState(_Strict):
    months: list[NotNegative]
    event: list[NotNegative]
    competing: list[NotNegative]
    last_month: NotNegative

    @model_validator(mode="after")
    def _aligned(self) -> _BaselineState:
        if not len(self.months) == len(self.event) == len(self.competing):
            raise ValueError("hazards and months have different lengths")
        _check_ascending(self.months, "months")
        return self


class _LogTimeState(_Strict):
    distribution: Distribution
    scale: Positive
    last_month: NotNegative


class _ForestState(_Strict):
    """Arrays of ``trees.Forest``; its outputs are the incidence by each of ``months``, one of them is the risk."""

    months: list[Positive] = Field(min_length=1)
    output: Position
    roots: list[Position] = Field(min_length=1, max_length=_MOST_TREES)
    feature: list[Link]
    threshold: list[Number]
    left: list[Link]
    value: list[list[Share]]
    cover: list[Positive]

    @model_validator(mode="after")
    def _sound(self) -> _ForestState:
        nodes = len(self.feature)
        if not nodes == len(self.threshold) == len(self.left) == len(self.value) == len(self.cover):
            raise ValueError("the nodes of the trees have different lengths")
        _check_ascending(self.months, "months")
        if self.output >= len(self.months) or any(len(row) != len(self.months) for row in self.value):
            raise ValueError("values and months of the trees do not fit together")
        _check_ascending(self.roots, "roots")
        if self.roots[0] != 0 or self.roots[-1] >= nodes:
            raise ValueError("the roots point beyond the trees")
        for begin, end in zip(self.roots, [*self.roots[1:], nodes], strict=True):
            _check_tree(self.feature, self.left, begin, end)
        return self


def _check_tree(feature: list[int], left: list[int], begin: int, end: int) -> None:
    """Every node but the root is the child of exactly one node before it, in the same tree."""
    if end - begin > 2 * MOST_LEAVES - 1:
        raise ValueError("a tree is too large")
    children = []
    for node in range(begin, end):
        if (feature[node] < 0) != (left[node] < 0):
            raise ValueError("a node is neither a leaf nor a split")
        if left[node] >= 0:
            if left[node] <= node:
                raise ValueError("a child comes before its parent")
            children += [left[node], left[node] + 1]
    if sorted(children) != list(range(begin + 1, end)):
        raise ValueError("a tree has a stray or a shared child")


def _check_ascending(values: list[float] | list[int], name: str) -> None:
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError(f"{name} do not ascend")


class State(_Strict):
    """What a frozen model is made of.

    ``learner`` is its form: linear (``ridge`` in states of the time when ridge was the only linear learner), boosted
    trees, or a forest.
    """

    format: Literal[1]
    learner: Literal["linear", "ridge", "xgboost", "forest"]
    horizon_months: Annotated[float, Field(allow_inf_nan=False, gt=0)] | None
    columns: list[_ColumnState]
    fill: list[Number]
    indicators: list[Position]
    selected: list[Position]
    mean: list[Number]
    scale: list[Positive]
    coefficients: list[Number] | None
    intercept: Number
    input_mean: list[Number] | None
    baseline: _BaselineState | None
    log_time: _LogTimeState | None = None
    forest: _ForestState | None = None

    @model_validator(mode="after")
    def _consistent(self) -> State:
        size, encoded = len(self.selected), len(input_names(self.specs()))
        if size == 0 or len(self.mean) != size or len(self.scale) != size:
            raise ValueError("selected, mean and scale have different lengths or are empty")
        if len(self.fill) != encoded or any(i >= encoded for i in self.indicators):
            raise ValueError("fill or indicators do not fit the columns")
        if len(set(self.selected)) != size or max(self.selected) >= encoded + len(self.indicators):
            raise ValueError("selected repeats an input or points beyond the inputs")
        for values in (self.coefficients, self.input_mean):
            if (values is not None) != self.linear or (values is not None and len(values) != size):
                raise ValueError("coefficients or input_mean do not fit the learner or the inputs")
        self._check_forest(size)
        self._check_times()
        return self

    def _check_forest(self, inputs: int) -> None:
        if (self.forest is not None) != (self.learner == "forest"):
            raise ValueError("forest and learner do not fit together")
        if self.forest is not None and max(self.forest.feature) >= inputs:
            raise ValueError("a tree splits on an input beyond the inputs")

    def _check_times(self) -> None:
        """Where the probabilities come from is one thing."""
        if self.forest is not None:
            known = self.horizon_months is None or self.forest.months == [self.horizon_months]
            if self.baseline is not None or self.log_time is not None or not known:
                raise ValueError("a forest has its own months and nothing else")
            return
        if (self.log_time is not None) and self.learner != "xgboost":
            raise ValueError("log_time and learner do not fit together")
        if sum(part is not None for part in (self.horizon_months, self.baseline, self.log_time)) != 1:
            raise ValueError("a model has either a horizon or a baseline hazard (or a distribution of the time)")

    @property
    def linear(self) -> bool:
        """Whether it is a linear predictor."""
        return self.learner in ("linear", "ridge")

    def specs(self) -> tuple[ColumnSpec, ...]:
        """Columns it reads."""
        return tuple(ColumnSpec(c.name, c.kind, tuple(c.categories), c.log) for c in self.columns)


def read_state(state: Any) -> State:
    """Check a stored state.

    Raises
    ------
    InputError
        For unknown or missing keys, wrong types, shapes that do not fit, numbers that are not finite, damaged trees.
    """
    try:
        checked = State.model_validate(state)
        check_columns(checked.specs())
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'state'}: {e['msg']}" for e in error.errors(include_url=False)[:5]
        )
        raise InputError("the stored model is not valid", where="model state", got=faults) from None
    except ConfigError as error:
        raise InputError("the stored model is not valid", where="model state", got=error.what) from None
    return checked


def baseline_of(state: State) -> Baseline | None:
    """Hazards of a checked state."""
    found = state.baseline
    if found is None:
        return None
    return Baseline(
        np.array(found.months, dtype=float),
        np.array(found.event, dtype=float),
        np.array(found.competing, dtype=float),
        found.last_month,
    )


def log_time_of(state: State) -> LogTime | None:
    """Distribution of the time of a checked state."""
    found = state.log_time
    return None if found is None else LogTime(found.distribution, found.scale, found.last_month)


def forest_of_state(state: State) -> Forest | None:
    """Trees of a checked state."""
    found = state.forest
    if found is None:
        return None
    return Forest(
        np.array(found.roots, dtype=np.int64),
        np.array(found.feature, dtype=np.int64),
        np.array(found.threshold, dtype=float),
        np.array(found.left, dtype=np.int64),
        np.array(found.value, dtype=float),
        np.array(found.cover, dtype=float),
    )


def forest_state(forest: Forest, months: tuple[float, ...], output: int) -> dict[str, Any]:
    """Plain numbers of a forest, ready for JSON."""
    return {
        "months": list(months),
        "output": output,
        "roots": forest.roots.tolist(),
        "feature": forest.feature.tolist(),
        "threshold": forest.threshold.tolist(),
        "left": forest.left.tolist(),
        "value": forest.value.tolist(),
        "cover": forest.cover.tolist(),
    }
