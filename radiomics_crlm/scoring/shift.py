"""Shift of a cohort: do its patients, scans and outcomes look like those that the model was trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.evaluation.outcome import Outcome
from radiomics_crlm.scoring.bundle import BundleContent


@dataclass(frozen=True)
class Tally:
    """Counts of a cohort, block by block; sums of tallies are exact."""

    rows: int = 0

    @classmethod
    def of(
        cls,
        content: BundleContent,
        table: pd.DataFrame,
        scans: pd.DataFrame | None = None,
        probability: np.ndarray | None = None,
        *,
        spoken: Sequence[int] | None = None,
        outcome: Outcome | None = None,
    ) -> Tally:
        """Counts of a block of rows."""
        return cls(len(table))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows)

    def to_json(self) -> dict[str, Any]:
        """The counts as plain JSON."""
        return {"rows": self.rows}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Tally:
        """A tally from :meth:`to_json`."""
        return cls(int(state["rows"]))


@dataclass(frozen=True)
class ShiftReport:
    """What was compared, and the verdict."""

    verdict: str
    content: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {"verdict": self.verdict, **self.content}


def shift_report(content: BundleContent, tally: Tally) -> ShiftReport:
    """Compare a cohort with the training."""
    return ShiftReport("not compared: the bundle keeps no distribution of its training data", {"rows": tally.rows})
