"""Run-time proof that no fit saw a test patient."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.errors import LeakError


class FitAudit:
    """Counts fits and refuses one whose rows include a sealed patient.

    Parameters
    ----------
    sealed
        Patients of the outer test fold.
    resampled
        Whether a patient may appear several times, as in a bootstrap sample.
    """

    def __init__(self, sealed: pd.Index, *, resampled: bool = False) -> None:
        self.sealed, self.resampled = frozenset(sealed), resampled
        self.fits = 0

    def check(self, rows: pd.Index, step: str) -> None:
        """To be called with the rows of every fit, before it.

        Raises
        ------
        LeakError
            If a row is sealed, or a patient appears twice where rows were not resampled.
        """
        seen = self.sealed.intersection(rows)
        if seen:
            raise LeakError(
                f"a fit would see {len(seen)} patients of the outer test fold",
                where=step,
                expected="training patients only",
            )
        if rows.has_duplicates and not self.resampled:
            raise LeakError("a fit would see a patient twice", where=step, expected="one row per patient")
        self.fits += 1
