"""Uncertainty of each prediction: prediction sets, the time free of the event, and the spread of refitted models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.scoring.bundle import BundleContent


def interval_names(content: BundleContent) -> list[str]:
    """Columns of :func:`interval_columns`, in order; none for a bundle that knows nothing of its uncertainty."""
    return []


def interval_columns(
    content: BundleContent,
    model: FrozenModel,
    table: pd.DataFrame,
    risk: np.ndarray,
    probability: np.ndarray,
    spoken: Sequence[int],
) -> dict[str, np.ndarray]:
    """Columns that say how uncertain each prediction is (n rows each)."""
    return {}
