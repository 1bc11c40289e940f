"""How much predictions change when the model is refitted: group summaries of the table ``instability``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, figure, group, row, section, share, table, value
from radiomics_crlm.report.followed import by_horizon, model_order
from radiomics_crlm.report.wording import SMALL_CELL, fixed, months_text, percent, small

# Of a time-to-event model, which is refitted at other times too, for the intervals of its bundle.
_MONTHS = 24.0
_WIDE = 0.2
_GROUP = 20
_MOST_GROUPS = 8


def instability(artefacts: Artefacts, _: Part) -> Part:
    """Mean absolute change of a prediction, and how far refitted models disagree, per endpoint and model."""
    if "instability" not in artefacts.tables:
        return section([absent("Prediction instability", artefacts.why_absent("instability"))])
    rows = artefacts.tables["instability"]
    if rows.empty:
        return section([absent("Prediction instability", "the table has no rows")])
    blocks: list[Part] = []
    groups = []
    for name, config in artefacts.endpoints.items():
        judged = config.horizon_months or _MONTHS
        own = rows.loc[(rows["endpoint"] == name) & (rows["horizon_months"] == judged)]
        lines = []
        for months, here in by_horizon(own):
            for model in model_order(artefacts, here["model"]):
                part = here.loc[here["model"] == model]
                lines.append(_line(artefacts, model, months, part))
                if len(part) >= 2 * _GROUP:
                    blocks.append(_figure(artefacts, config.title, model, months, part))
        if lines:
            groups.append(group(lines, config.title))
    draws = sorted({int(d) for d in rows["draws"]})
    blocks.append(
        table(
            "How much predictions change when the whole model is refitted on bootstrap samples of its patients",
            "Model",
            [
                column("Patients"),
                column("Mean change", "absolute, percentage points"),
                column("Change of the least stable tenth", "90th percentile of the patients"),
                column("Mean width", "of the range of 95 % of the refits"),
                column("Wide ranges", f"patients with more than {100 * _WIDE:.0f} points"),
                column("On the other side", "of the threshold, mean share of refits"),
            ],
            groups,
            note=f"{' and '.join(map(str, draws))} refits. Riley and Collins 2023, doi:10.1002/bimj.202200302.",
        )
    )
    return section(blocks)


def _line(artefacts: Artefacts, model: str, months: float, own: pd.DataFrame) -> Part:
    width = own["upper"] - own["lower"]
    many = int((width > _WIDE).sum())
    hidden = isinstance(small(many), str) or isinstance(small(len(own) - many), str)
    wide = f"<{SMALL_CELL}" if 0 < many < SMALL_CELL else f"all but <{SMALL_CELL}"
    shown = wide if hidden else f"{many} ({percent(many, len(own))})"
    moved = own["reclassified"].dropna()
    return row(
        f"{artefacts.model_title(model)}, {months_text(months)}",
        [
            value(len(own), 0),
            value(round(100 * float(own["mape"].mean()), 3), 1),
            value(round(100 * float(own["mape"].quantile(0.9)), 3), 1),
            value(round(100 * float(width.mean()), 3), 1),
            cell(shown, value=None if hidden else many),
            share(round(float(moved.mean()), 4) if len(moved) else None),
        ],
    )


def _figure(artefacts: Artefacts, title: str, model: str, months: float, own: pd.DataFrame) -> Part:
    """Groups of at least twenty patients with similar prediction: means only."""
    ordered = own.sort_values("prediction", kind="stable")
    parts = np.array_split(np.arange(len(ordered)), min(_MOST_GROUPS, len(ordered) // _GROUP))
    groups = []
    for part in parts:
        here = ordered.iloc[part]
        means = {k: round(float(here[k].mean()), 4) for k in ("prediction", "mean", "lower", "upper")}
        range_text = f"{fixed(means['lower'])} to {fixed(means['upper'])}"
        described = f"predicted {fixed(means['prediction'])}: {range_text} ({len(here)} patients)"
        groups.append({"n": len(here), "described": described} | means)
    return figure(
        "instability",
        f"Prediction instability of {artefacts.model_title(model)}: {title}",
        f"{artefacts.model_title(model)}, {title}, {months_text(months)}: mean range of the refitted models in groups "
        f"of at least {_GROUP} patients with similar prediction. The wider the band, the more a prediction depends on "
        "who happened to be in the data.",
        {"groups": groups},
        narrow=True,
    )
