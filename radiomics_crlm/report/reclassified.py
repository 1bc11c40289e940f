"""Reclassification against another model or score, from the table of that name; always below its caution."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, caution, column, estimate, group, row, section, table
from radiomics_crlm.report.followed import model_order
from radiomics_crlm.report.verdicts import shown_model
from radiomics_crlm.report.wording import listed, months_text

_COLUMNS = (
    ("nri_categorical", "NRI, categories", "sum of the next two"),
    ("nri_categorical_events", "with event", "moved up minus down"),
    ("nri_categorical_nonevents", "without event", "moved down minus up"),
    ("nri_continuous", "NRI, any change", ""),
    ("idi", "IDI", "difference in mean risk"),
)
_DECIMALS = {"idi": 3}


def reclassification(artefacts: Artefacts, _: Part) -> Part:
    """The model of the card against each of the others, at the horizon of the endpoint."""
    cuts = artefacts.experiment.risk_categories
    if not cuts:
        return section([absent("Reclassification", "the experiment names no risk categories")])
    if "reclassification" not in artefacts.tables:
        return section([absent("Reclassification", artefacts.why_absent("reclassification"))])
    words = artefacts.tables["reclassification"]["caution"].dropna()
    blocks = [caution(str(words.iloc[0]))] if len(words) else []
    bounds = listed([f"{100 * cut:g} %" for cut in cuts])
    blocks += [_endpoint(artefacts, name, bounds) for name in artefacts.endpoints]
    return section(blocks)


def _endpoint(artefacts: Artefacts, endpoint: str, bounds: str) -> Part:
    title = artefacts.endpoints[endpoint].title
    rows = artefacts.of_endpoint("reclassification", endpoint)
    if rows is None:
        return absent(f"Reclassification: {title}", artefacts.why_absent("reclassification"))
    model = shown_model(artefacts, endpoint)
    own = rows.loc[rows["model"] == model]
    turned = rows.loc[rows["reference"] == model]
    if own.empty and turned.empty:
        return absent(f"Reclassification: {title}", "the model of the card was not compared in it")
    lines = [_line(artefacts, own, other, "reference") for other in model_order(artefacts, own["reference"])]
    # A later model against that of the card is turned: all rows then speak for the model of the card.
    lines += [_line(artefacts, turned, other, "model") for other in model_order(artefacts, turned["model"])]
    months = months_text(float(rows["horizon_months"].iloc[0]))
    return table(
        f"{artefacts.model_title(str(model))} against the others by {months}, risk categories divided at {bounds}, "
        f"with 95 % intervals: {title}",
        "Against",
        [column("n"), column("Events"), *(column(head, trait) for _, head, trait in _COLUMNS)],
        [group(lines)],
        note="Positive: the model of the card puts more patients into a better category than the other.",
        fold=f"Reclassification: {title}",
    )


def _line(artefacts: Artefacts, rows: pd.DataFrame, other: str, side: str) -> Part:
    own: dict[str, dict[Any, Any]] = {str(r["metric"]): r for r in rows.loc[rows[side] == other].to_dict("records")}
    if side == "model":
        own = {metric: _turned(r) for metric, r in own.items()}
    first = next(iter(own.values()))
    base = [{"text": str(int(first[k])), "value": int(first[k])} for k in ("n", "events")]
    cells = [estimate(own.get(metric), decimals=_DECIMALS.get(metric, 2)) for metric, _, _ in _COLUMNS]
    return row(artefacts.model_title(other), [*base, *cells])


def _turned(r: dict[Any, Any]) -> dict[Any, Any]:
    return r | {"estimate": -r["estimate"], "lower": -r["upper"], "upper": -r["lower"]}
