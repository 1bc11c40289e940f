"""Average precision (area under the precision-recall curve) of out-of-fold risks, within folds.

Precision at the risk of a case is the share of cases among the patients of its fold with at least that risk. Average
precision is its mean over all cases - folds weigh by their cases - and over repeats. Chance is the incidence. Patients
count with their weights: how often they are drawn times the inverse probability of censoring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import Floats
from radiomics_crlm.evaluation.resampling import HorizonSample, Ints, ratio

_DRAWS_AT_ONCE = 128


def precision_values(sample: HorizonSample, risk: Floats, fold: Ints) -> Floats:
    """Average precision in a sample and its resamples; NaN without a case.

    Parameters
    ----------
    sample
        Labels and weights of n patients.
    risk
        n x repeats, finite, higher = event more likely; ties share their threshold.
    fold
        n x repeats, outer test fold.

    Raises
    ------
    InputError
        For shapes that differ or a risk that is not finite.
    """
    if risk.shape != fold.shape or len(risk) != sample.label.size:
        raise InputError("risk and fold have different shapes", got=f"{risk.shape}, {fold.shape}")
    if not np.isfinite(risk).all():
        raise InputError(f"{int((~np.isfinite(risk)).sum())} risks are not finite", where="risk")
    total, label = np.zeros(len(sample.weights)), sample.label == 1
    for begin in range(0, total.size, _DRAWS_AT_ONCE):
        part = slice(begin, begin + _DRAWS_AT_ONCE)
        # One row per patient, so that patients are put in order by moving whole rows.
        weight = np.ascontiguousarray(sample.weights[part].T)
        for column in range(risk.shape[1]):
            total[part] += _summed_precision(weight, label, risk[:, column], fold[:, column])
    return ratio(total, risk.shape[1] * (sample.weights @ sample.label))


def _summed_precision(weight: Floats, label: npt.NDArray[np.bool_], risk: Floats, fold: Ints) -> Floats:
    """Sum over the cases of weight times precision, one repeat; ``weight`` is n x resamples."""
    order = np.lexsort((-risk, fold))
    risk, fold, label, weight = risk[order], fold[order], label[order], weight[order]
    new_fold = np.concatenate(([True], fold[1:] != fold[:-1]))
    new_risk = new_fold | np.concatenate(([True], risk[1:] != risk[:-1]))
    # How many come up to the last patient with the same risk, and before the first of the same fold, of each case.
    last = np.append(np.flatnonzero(new_risk)[1:], risk.size)[np.cumsum(new_risk) - 1][label]
    first = np.flatnonzero(new_fold)[np.cumsum(new_fold) - 1][label]
    nothing = np.zeros((1, weight.shape[1]))
    everybody = np.concatenate((nothing, np.cumsum(weight, axis=0)))
    cases = np.concatenate((nothing, np.cumsum(weight * label[:, None], axis=0)))
    above, right = (summed[last] - summed[first] for summed in (everybody, cases))
    precision = np.divide(right, above, out=np.zeros_like(right), where=above > 0)
    return np.asarray((weight[label] * precision).sum(axis=0))
