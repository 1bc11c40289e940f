"""Decision curves: what a model is worth to those who act on it, from the table ``decision_curves``."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, figure, group, heading, row, section, table
from radiomics_crlm.report.followed import by_horizon, followed
from radiomics_crlm.report.wording import NO_VALUE, SMALL_CELL, fixed, months_text, number

_TITLES = {"treat_all": "Treat all", "treat_none": "Treat none"}
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
_HIGHEST = 0.8
_STEP = 0.011


def decisions(artefacts: Artefacts, _: Part) -> Part:
    """Curves of the model of the card, its clinical counterpart and the first score, and a table at some thresholds."""
    if "decision_curves" not in artefacts.tables:
        return section([absent("Decision curves", artefacts.why_absent("decision_curves"))])
    blocks: list[Part] = []
    for name, config in artefacts.endpoints.items():
        blocks.append(heading(config.title))
        blocks += _endpoint(artefacts, name)
    return section(blocks)


def _endpoint(artefacts: Artefacts, endpoint: str) -> list[Part]:
    rows = artefacts.of_endpoint("decision_curves", endpoint)
    if rows is None:
        return [absent("Decision curves", artefacts.why_absent("decision_curves"))]
    fitted = rows.loc[~rows["model"].isin(list(_TITLES)), "model"]
    models = [*followed(artefacts, endpoint, fitted), *_TITLES]
    rows = rows.loc[rows["model"].isin(models) & (rows["threshold"] <= _HIGHEST)]
    parts = by_horizon(rows)
    panels = [
        {
            "title": months_text(months),
            "months": months,
            "curves": [c for m in models if (c := _curve(artefacts, m, here)) is not None],
        }
        for months, here in parts
    ]
    title = artefacts.endpoints[endpoint].title
    described = "The table below it holds the net benefit of the curves at some thresholds."
    return [
        figure(
            "decision_curves",
            f"Decision curves: {title}",
            "Net benefit per patient of treating those at or above a threshold of predicted risk: higher is better, "
            "and a model is of use only where its curve lies above treating all and treating none. Points at which "
            f"fewer than {SMALL_CELL} patients would be treated, or left untreated, are not drawn.",
            {"panels": panels, "described": described},
            narrow=len(panels) == 1,
        ),
        _table(artefacts, title, models, parts),
    ]


def _shown(r: pd.Series) -> bool:
    """Whether nobody can be singled out: nobody, everybody, or at least five on either side are treated."""
    treated, n = number(r["treated"]), int(r["n"])
    if number(r["net_benefit"]) is None or treated is None:
        return False
    above = round(treated * n, 3)
    return all(side == 0 or side >= SMALL_CELL for side in (above, n - above))


def _curve(artefacts: Artefacts, model: str, here: pd.DataFrame) -> Part | None:
    own = here.loc[here["model"] == model].sort_values("threshold")
    if own.empty:
        return None
    # Beyond the highest prediction nobody is treated, as by treating none: the curve of a model ends there.
    ends = model not in _TITLES
    drawn = [
        round(float(r["net_benefit"]), 4) if _shown(r) and not (ends and r["treated"] == 0) else None
        for _, r in own.iterrows()
    ]
    thresholds = [round(float(t), 3) for t in own["threshold"]]
    return {
        "model": model,
        "title": _TITLES.get(model) or artefacts.model_title(model),
        "threshold": thresholds,
        "net_benefit": drawn,
    }


def _table(artefacts: Artefacts, title: str, models: list[str], parts: list[tuple[float, pd.DataFrame]]) -> Part:
    groups = []
    for months, here in parts:
        present = [m for m in models if (here["model"] == m).any() and m != "treat_none"]
        lines = [
            row(
                _TITLES.get(m) or artefacts.model_title(m),
                _cells(here.loc[here["model"] == m], fitted=m not in _TITLES),
            )
            for m in present
        ]
        groups.append(group(lines, f"By {months_text(months)}"))
    return table(
        f"Net benefit at thresholds of predicted risk: {title}",
        "Strategy",
        [column(f"{100 * t:.0f} %") for t in _THRESHOLDS],
        groups,
        note="In brackets: treatments avoided per 100 patients against treating all, with no event missed on balance. "
        "Treating none has a net benefit of 0.",
    )


def _cells(own: pd.DataFrame, *, fitted: bool) -> list[Part]:
    cells = []
    for threshold in _THRESHOLDS:
        near = own.loc[(own["threshold"] - threshold).abs() < _STEP / 2]
        r = near.iloc[0] if len(near) else None
        if r is None or number(r["net_benefit"]) is None:
            cells.append(cell(NO_VALUE, value=None))
        elif not _shown(r):
            cells.append(cell("too few", value=None))
        else:
            benefit, avoided = float(r["net_benefit"]), number(r["avoided_per_100"]) if fitted else None
            text = fixed(benefit, 3) + ("" if avoided is None else f" ({fixed(avoided, 0)})")
            cells.append(cell(text, value=benefit, avoided_per_100=avoided))
    return cells
