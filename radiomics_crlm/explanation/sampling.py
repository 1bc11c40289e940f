"""Shapley values of a game that is known by its values alone: exact for few players, else by permutations.

Both are additive by construction: the values of a row sum to the worth of all players less the worth of none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from radiomics_crlm.evaluation.outcome import Floats

Flags = npt.NDArray[np.bool_]
Game = Callable[[Flags], Floats]
"""From coalitions (m x players) to the worth of each (m x anything)."""

PAIRS = 16
"""Permutations that are drawn; each is also walked backwards, which cancels interactions of two players."""


def shapley_values(game: Game, players: int, *, seed: int, pairs: int = PAIRS) -> Floats:
    """Shapley values of all players.

    Where there are no more coalitions than a sample of permutations would ask for, all are asked and the values are
    exact. Otherwise they are unbiased means over permutations and their reverses, exact for games without interactions
    of more than two players. The cost is at most ``2 * pairs * (players + 1)`` coalitions.

    Parameters
    ----------
    game
        Worth of coalitions.
    players
        Their number, >= 1.
    seed
        Of the permutations.
    pairs
        Permutations, >= 1.

    Returns
    -------
    Array players x the shape of a worth.

    References
    ----------
    Castro, Gómez, Tejada 2009, doi:10.1016/j.cor.2008.04.004; Mitchell et al. 2022, JMLR 23(43).

    Examples
    --------
    >>> shapley_values(lambda sets: sets.all(axis=1).astype(float), 2, seed=0).tolist()
    [0.5, 0.5]
    """
    if 2**players <= 2 * pairs * (players + 1):
        return _exact(game, players)
    return _sampled(game, players, pairs, seed)


def _sampled(game: Game, players: int, pairs: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    total: Floats | None = None
    for _ in range(pairs):
        order = generator.permutation(players)
        for walk in (order, order[::-1]):
            steps = np.diff(game(_growing(walk)), axis=0)
            gains = np.empty_like(steps)
            gains[walk] = steps
            total = gains if total is None else total + gains
    assert total is not None  # noqa: S101 - there is a pair
    return np.asarray(total / (2 * pairs))


def _growing(walk: np.ndarray) -> Flags:
    """Coalitions that players join one by one, from none to all."""
    place = np.empty(walk.size, dtype=int)
    place[walk] = np.arange(walk.size)
    return np.arange(walk.size + 1)[:, None] > place[None, :]


def _exact(game: Game, players: int) -> Floats:
    sets = (np.arange(2**players)[:, None] >> np.arange(players)[None, :] & 1).astype(bool)
    worth, size = np.asarray(game(sets), dtype=float), sets.sum(axis=1)
    out = np.zeros((players, *worth.shape[1:]))
    for player in range(players):
        without = np.flatnonzero(~sets[:, player])
        weight = np.array([1.0 / (players * math.comb(players - 1, int(k))) for k in size[without]])
        out[player] = np.tensordot(weight, worth[without | (1 << player)] - worth[without], axes=1)
    return out
