"""Which models the figures of the card follow, and the rows of a table that speak of them."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.verdicts import clinical_counterpart, shown_model


def followed(artefacts: Artefacts, endpoint: str, present: pd.Series) -> list[str]:
    """The model of the card, its clinical counterpart and the first score, as far as ``present`` names them.

    Parameters
    ----------
    present
        Column ``model`` of the rows of the endpoint.
    """
    names = list(dict.fromkeys(present.astype(str)))
    shown = shown_model(artefacts, endpoint)
    wanted = [] if shown is None else [shown, clinical_counterpart(artefacts, shown)]
    # A score as it stands says more than what it would be at best or at worst.
    scores = sorted((name for name in names if not artefacts.is_model(name)), key=lambda name: "bound" in name)
    found = [name for name in [*wanted, *scores[:1]] if name in names]
    return found or names[:1]


def model_order(artefacts: Artefacts, present: pd.Series) -> list[str]:
    """All models of a column, fitted ones first, each kind as the experiment lists it.

    The order does not depend on any result.
    """
    sets = list(artefacts.experiment.feature_sets)
    others = [*artefacts.experiment.rules, *artefacts.experiment.reported_scores]

    def key(name: str) -> tuple[bool, int, str]:
        base = name.partition("/")[0].partition(" (")[0]
        order = sets if artefacts.is_model(name) else others
        return (not artefacts.is_model(name), order.index(base) if base in order else len(order), name)

    return sorted(dict.fromkeys(present.astype(str)), key=key)


def by_horizon(rows: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """Rows of each horizon, by months, the earliest first."""
    months = sorted({float(m) for m in rows["horizon_months"]})
    return [(m, rows.loc[rows["horizon_months"] == m]) for m in months]
