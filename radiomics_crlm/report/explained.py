"""The explanation beyond single inputs: groups, stability, probabilities, dependence, and what a score lacks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.beside_score import beside_score
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    cell,
    column,
    figure,
    group,
    heading,
    paragraph,
    row,
    section,
    share,
    table,
    value,
)
from radiomics_crlm.report.dependence_panels import dependence_blocks
from radiomics_crlm.report.verdicts import shown_model
from radiomics_crlm.report.wording import fixed, listed, months_text

_TOP = 10
_NAMED = 4
_DIRECTION = {1: "higher: event more likely", -1: "higher: event less likely", 0: "as often as not"}


def explained(artefacts: Artefacts, _: Part) -> Part:
    """Blocks below the attributions of single inputs, per endpoint."""
    blocks: list[Part] = []
    for name, config in artefacts.endpoints.items():
        model = shown_model(artefacts, name)
        if model is None or _of_model(artefacts, "attributions", name, model) is None:
            continue
        blocks.append(heading(f"{config.title}: {artefacts.model_title(model)}"))
        blocks += _groups(artefacts, name, model)
        blocks += beside_score(artefacts, name, model)
        blocks += _stability(artefacts, name, model)
        blocks += _probabilities(artefacts, name, model)
        blocks += dependence_blocks(_of_model(artefacts, "dependence", name, model), artefacts.why_absent("dependence"))
    return section(blocks)


def _of_model(artefacts: Artefacts, name: str, endpoint: str, model: str) -> pd.DataFrame | None:
    rows = artefacts.of_endpoint(name, endpoint)
    if rows is None:
        return None
    rows = rows.loc[rows["model"] == model]
    return rows if len(rows) else None


# --- groups --------------------------------------------------------------------------------------------------------


def _groups(artefacts: Artefacts, endpoint: str, model: str) -> list[Part]:
    what = "Groups of inputs"
    rows = _of_model(artefacts, "input_groups", endpoint, model)
    if rows is None:
        return [absent(what, artefacts.why_absent("input_groups"))]
    rows = rows.sort_values(
        ["group_importance", "group", "importance", "feature"], ascending=[False, True, False, True]
    )
    groups = [part for _, part in rows.groupby("group", sort=False)]
    moving = [part for part in groups if float(part["group_importance"].iloc[0]) > 0]
    if not moving:
        return [absent(what, "no input moves the predicted risk")]
    drawn = [_drawn(part) for part in moving[:_TOP]]
    several = [part for part in moving if len(part) > 1]
    blocks = [
        figure(
            "group_bars",
            "What moves the prediction, correlated inputs together",
            f"The {len(drawn)} strongest of {len(moving)} groups. Every two inputs of a group have a rank "
            f"correlation of at "
            "least 0.7 in these patients; outcomes played no part in finding the groups. A model divides what such "
            "inputs "
            "have in common among them by chance, so their attributions are summed before their size is taken.",
            {"rows": drawn},
        )
    ]
    if several:
        blocks.append(_members(several))
    return blocks


def _drawn(part: pd.DataFrame) -> Part:
    first, kinds = str(part["feature"].iloc[0]), sorted(set(part["block"]))
    others = f" and {len(part) - 1} more" if len(part) > 1 else ""
    size = round(float(part["group_importance"].iloc[0]), 5)
    return {
        "title": first + others,
        "block": kinds[0] if len(kinds) == 1 else "mixed",
        "importance": size,
        "text": fixed(size, 3),
        "members": len(part),
    }


def _members(several: list[pd.DataFrame]) -> Part:
    lines = []
    for part in several:
        names, size = [str(f) for f in part["feature"]], float(part["group_importance"].iloc[0])
        more = f" and {len(names) - _NAMED - 1} more" if len(names) > _NAMED + 1 else ""
        alone = float(part["importance"].iloc[0])
        lines.append(
            row(
                names[0],
                [value(len(names), 0), value(round(size, 5), 3), value(round(alone, 5), 3)],
                under="with " + listed(names[1 : _NAMED + 1]) + more,
            )
        )
    return table(
        "Groups of several inputs",
        "Strongest member, and the others",
        [
            column("Inputs"),
            column("Mean |SHAP|", "of the group"),
            column("Mean |SHAP|", "of its strongest member alone"),
        ],
        [group(lines)],
        fold=f"The {len(several)} groups of several inputs, with their members",
    )


# --- stability -----------------------------------------------------------------------------------------------------


def _stability(artefacts: Artefacts, endpoint: str, model: str) -> list[Part]:
    what = "Stability of the explanation"
    rows = _of_model(artefacts, "attribution_stability", endpoint, model)
    if rows is None:
        return [absent(what, artefacts.why_absent("attribution_stability"))]
    rows = rows.sort_values(["importance", "feature"], ascending=[False, True])
    first, folds = rows.iloc[0], int(rows["folds"].iloc[0])
    if folds < 2:
        return [absent(what, "there is one fold only")]
    lines = [
        row(
            str(r["feature"]),
            [
                share(round(float(r["used_share"]), 4)),
                share(None if pd.isna(r["sign_agreement"]) else round(float(r["sign_agreement"]), 4)),
                cell(_DIRECTION[int(r["direction"])]),
                cell(
                    f"{fixed(r['rank_median'], 0)} ({fixed(r['rank_highest'], 0)} to {fixed(r['rank_lowest'], 0)})",
                    value=float(r["rank_median"]),
                ),
            ],
        )
        for r in rows.head(_TOP).to_dict("records")
    ]
    overlap, tau = (None if pd.isna(first[k]) else float(first[k]) for k in ("top_overlap", "rank_correlation"))
    return [
        paragraph(
            f"Would another model have said the same? Between the models of two of the {folds} folds "
            f"{'–' if overlap is None else fixed(100 * overlap, 0)} % of the ten strongest inputs are the same on "
            f"average; "
            f"the rank correlation (Kendall) of all inputs is {fixed(tau, 2)}."
        ),
        table(
            f"Stability of the strongest inputs over the {folds} folds",
            "Input",
            [
                column("Used", "share of the folds"),
                column("Same direction", "share of the folds that tell one"),
                column("Direction in most", words=True),
                column("Rank", "median (best to worst)"),
            ],
            [group(lines)],
            note="Folds have other models and other patients; both make them differ.",
        ),
    ]


# --- probabilities -------------------------------------------------------------------------------------------------


def _probabilities(artefacts: Artefacts, endpoint: str, model: str) -> list[Part]:
    rows = _of_model(artefacts, "probability_attributions", endpoint, model)
    if rows is None:
        return [absent("Explanation of the probabilities", artefacts.why_absent("probability_attributions"))]
    size = rows["attribution"].abs().groupby([rows["feature"], rows["months"]]).mean().unstack("months")
    months = [float(m) for m in size.columns]
    order = np.lexsort((size.index.to_numpy(dtype=str), -size.max(axis=1).to_numpy()))
    lines = [
        row(str(size.index[k]), [value(round(100 * float(v), 3), 1) for v in size.to_numpy()[k]]) for k in order[:_TOP]
    ]
    return [
        table(
            "How far the strongest inputs move the predicted probability: mean |SHAP|, percentage points",
            "Input",
            [column(f"Within {months_text(m)}") for m in months],
            [group(lines)],
            note=(
                "Attributions of the risk, carried through the function that makes it a probability (Shapley values "
                "of that "
                "function; for a forest those of its trees). They add up to the predicted probability."
            ),
            fold="The same for probabilities",
        )
    ]
