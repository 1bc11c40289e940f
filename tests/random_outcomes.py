"""Random outcomes for the oracles of the evaluation: censored, competing, tied where the oracle allows it."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.evaluation.outcome import Outcome, make_outcome

SEEDS = range(200)
CLOSED_FORM = 1e-8
ITERATIVE = 1e-4


def draw(
    seed: int, *, competing: bool, mixed_ties: bool = False, smallest: int = 15, largest: int = 70, events: float = 0.6
) -> tuple[Outcome, np.ndarray, np.random.Generator]:
    """Outcome and risk of some patients, and the generator to go on with.

    Times and risks are tied. Unless ``mixed_ties``, events are at whole and censorings at half months: several of the
    oracles have other conventions for an event and a censoring at the same time. The first time is an event of code 1.
    """
    generator = np.random.default_rng(seed)
    n = int(generator.integers(smallest, largest))
    share = [1 - events, events] if not competing else [1 - events, 0.6 * events, 0.4 * events]
    event = generator.choice(len(share), n, p=share)
    months = np.ceil(generator.exponential(10, n)) + 1.0
    event[0], months[0] = 1, 1.0
    if not mixed_ties:
        months = months + 0.5 * (event == 0)
    risk = generator.normal(size=n).round(1)
    return make_outcome(event, months), risk, generator


def as_sksurv(y: Outcome) -> np.ndarray:
    """Outcome of scikit-survival: any code but 1 is censored."""
    return np.array(list(zip(y["event"] == 1, y["months"], strict=True)), dtype=[("event", bool), ("time", float)])


def deal(n: int, repeats: int, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Outer folds, n x repeats."""
    return np.stack([generator.permutation(np.arange(n) % folds) for _ in range(repeats)], axis=1)
