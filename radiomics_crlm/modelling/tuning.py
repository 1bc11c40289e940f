"""Tuning by Optuna: a declared range for each setting, searched inside the training fold by a seeded sampler.

In memory and one trial after the other, so that the result is that of the seed whatever the number of jobs. The folds
and the score are those of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radiomics_crlm.errors import ConfigError

# Random trials before the sampler learns from them.
_RANDOM = 8


@dataclass(frozen=True)
class Range:
    """Values that a setting may take.

    Parameters
    ----------
    low, high
        Limits, both included; above 0.
    log
        Equal steps are equal ratios.
    whole
        Whole numbers only.

    Raises
    ------
    ConfigError
        If the limits are not above 0, not in order, or not whole where they should be.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.low <= self.high and math.isfinite(self.high)):
            raise ConfigError(
                "a search range is out of order", expected="0 < low <= high", got=f"{self.low:g} to {self.high:g}"
            )
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ConfigError("a search range of whole numbers has other limits", got=f"{self.low:g} to {self.high:g}")

    def nearest(self, value: float) -> float:
        """The value, or the limit it is beyond.

        >>> Range(0.1, 1.0).nearest(3.0)
        1.0
        """
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Search:
    """What a recipe asks for: so many trials, and the ranges that differ from those of the grid.

    Raises
    ------
    ConfigError
        For fewer than two trials.
    """

    trials: int = 30
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise ConfigError("too few trials", where="tuning", expected=">= 2", got=str(self.trials))

    def space(self, grid: Mapping[str, Sequence[float]]) -> dict[str, Range]:
        """Range of each setting of a grid: the declared one, or from its smallest to its largest value.

        Whole numbers stay whole; other settings that span a factor of ten or more are searched by ratio.

        Raises
        ------
        ConfigError
            If a declared range is of no setting of the grid.
        """
        if unknown := sorted(set(self.ranges) - set(grid)):
            raise ConfigError(
                "the search space names settings that the learner does not tune", where="tuning",
                expected=", ".join(grid), got=", ".join(unknown),
            )  # fmt: skip
        return {name: self._range(name, values) for name, values in grid.items()}

    def _range(self, name: str, values: Sequence[float]) -> Range:
        whole = all(isinstance(value, int) for value in values)
        if name in self.ranges:
            asked = self.ranges[name]
            return Range(asked.low, asked.high, asked.log, whole)
        low, high = min(values), max(values)
        return Range(low, high, not whole and high >= 10 * low, whole)


@dataclass(frozen=True)
class Trials:
    """Settings that were tried, in order, and their scores."""

    settings: tuple[dict[str, float], ...]
    scores: np.ndarray


def search(
    space: Mapping[str, Range],
    judge: Callable[[dict[str, float]], float],
    *,
    trials: int,
    seed: int,
    first: Mapping[str, float],
) -> Trials:
    """Try settings, each chosen in the light of those before (tree-structured Parzen estimator).

    Parameters
    ----------
    space
        Range of each setting.
    judge
        Score of settings, higher = better.
    trials
        How many; settings that come again are not judged again.
    seed
        Of the sampler.
    first
        Settings of the first trial (brought into their ranges): of equal scores the first wins, so they should be the
        most conservative.

    References
    ----------
    Bergstra et al. 2011, Algorithms for hyper-parameter optimization (NIPS 24); Akiba et al. 2019,
    doi:10.1145/3292500.3330701.
    """
    import optuna  # only where it is asked for: the import is slow

    with _quiet(optuna):
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(_RANDOM, max(2, trials // 2)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = {name: _distribution(optuna, limits) for name, limits in space.items()}
        study.enqueue_trial({name: _typed(limits, limits.nearest(first[name])) for name, limits in space.items()})
        known: dict[tuple[float, ...], float] = {}
        tried: list[dict[str, float]] = []
        scores: list[float] = []
        for _ in range(trials):
            trial = study.ask(distributions)
            settings = {name: trial.params[name] for name in space}
            key = tuple(settings.values())
            if key not in known:
                known[key] = judge(settings)
            study.tell(trial, known[key])
            tried.append(settings)
            scores.append(known[key])
    return Trials(tuple(tried), np.array(scores))


def _typed(limits: Range, value: float) -> float:
    return int(value) if limits.whole else float(value)


def _distribution(optuna: Any, limits: Range) -> Any:
    if limits.whole:
        return optuna.distributions.IntDistribution(int(limits.low), int(limits.high), log=limits.log)
    return optuna.distributions.FloatDistribution(limits.low, limits.high, log=limits.log)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without a line on the screen for every study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
