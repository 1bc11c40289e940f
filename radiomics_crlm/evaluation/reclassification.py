"""Reclassification of patients by one set of risks against another, at a horizon. Never without its caution.

Weighted for censoring; n x repeats risks are compared repeat by repeat and averaged.

References
----------
Pencina et al. 2008, doi:10.1002/sim.2929, and 2011, doi:10.1002/sim.4085.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.decision import check_thresholds
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.resampling import Estimate, HorizonSample, estimate_of, ratio

CAUTION = (
    "Reclassification measures are no evidence that a model is better: they can be positive for pure noise or for "
    "risks that are merely miscalibrated, and they give no weight to what a wrong class costs. They are shown because "
    "readers ask for them; judge a model by its Brier score or log loss, its calibration and its decision curve "
    "(Hilden and Gerds 2014, doi:10.1002/sim.5804; Pepe et al. 2015, doi:10.1007/s12561-014-9118-0)."
)


@dataclass(frozen=True)
class Reclassification:
    """Measures by name with 95 % percentile intervals, and the caution that belongs to them.

    ``nri_categorical`` and ``nri_continuous`` (range -2 to 2) are the sums of their parts ``..._events`` and
    ``..._nonevents`` (-1 to 1); ``idi`` is the difference in discrimination slope. Positive favours the new risks.
    """

    measures: dict[str, Estimate]
    caution: str = CAUTION


def reclassification(
    sample: HorizonSample, old: Floats, new: Floats, *, cuts: Sequence[float] = ()
) -> Reclassification:
    """Net reclassification improvement and integrated discrimination improvement of new risks against old ones.

    Parameters
    ----------
    sample
        Labels and weights of n patients and their resamples at the horizon.
    old, new
        Probabilities, n x repeats.
    cuts
        Increasing cut points of the risk categories; a risk at a cut belongs to the higher category. Without any
        there is no categorical measure.

    Raises
    ------
    InputError
        For shapes that differ, or cut points that do not increase between 0 and 1.
    """
    if old.shape != new.shape or len(old) != sample.label.size:
        raise InputError("risks have different shapes", got=f"{old.shape}, {new.shape}, {sample.label.size}")
    events = sample.weights * sample.label
    others = sample.weights * (1 - sample.label)

    def mean(weights: Floats, value: Floats) -> Floats:
        return ratio(weights @ value, weights.sum(axis=1))

    values: dict[str, Floats] = {}
    moves = {"nri_continuous": np.sign(new - old)}
    if len(cuts):
        edges = check_thresholds(cuts)
        if (np.diff(edges) <= 0).any():
            raise InputError("cut points of risk must increase", got=", ".join(f"{c:g}" for c in edges))
        classes = [np.searchsorted(edges, p, side="right") for p in (new, old)]
        moves = {"nri_categorical": np.sign(classes[0] - classes[1])} | moves
    for name, move in moves.items():
        up = move.mean(axis=1)
        parts = mean(events, up), mean(others, -up)
        values |= {name: parts[0] + parts[1], f"{name}_events": parts[0], f"{name}_nonevents": parts[1]}
    gain = (new - old).mean(axis=1)
    values["idi"] = mean(events, gain) - mean(others, gain)
    return Reclassification({name: estimate_of(found) for name, found in values.items()})
