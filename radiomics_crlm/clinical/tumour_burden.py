"""Tumour burden score: number and size of the metastases as one length."""

from __future__ import annotations

import numpy as np

from radiomics_crlm.clinical.derivation import Column, Columns

BURDEN_INPUTS = ("n_liver_mets", "largest_met_mm")


def tumour_burden(columns: Columns) -> tuple[Column, Column]:
    """Smallest and largest possible tumour burden score, ``sqrt((size in cm)^2 + number^2)``.

    With the number unknown the lower end takes one metastasis (two when ``multiple_metastases`` is true), with the
    size unknown a size of 0; the upper end is then infinite. Both ends are equal when both inputs are known.
    doi:10.1097/SLA.0000000000002064

    Parameters
    ----------
    columns
        ``n_liver_mets`` and ``largest_met_mm`` (mm); ``multiple_metastases`` if the rule knows it.

    Examples
    --------
    >>> low, high = tumour_burden({"n_liver_mets": np.array([4.0, np.nan]), "largest_met_mm": np.array([30.0, 95.0])})
    >>> low.round(4).tolist(), high.tolist()
    ([5.0, 9.5525], [5.0, inf])
    """
    number, size = (columns[name] for name in BURDEN_INPUTS)
    multiple = columns.get("multiple_metastases", np.full(len(number), np.nan))
    least = np.where(np.isnan(number), np.where(multiple == 1, 2.0, 1.0), number)
    lower = np.hypot(np.nan_to_num(size, nan=0.0) / 10, least)
    return lower, np.where(np.isnan(number) | np.isnan(size), np.inf, lower)
