"""What the model sees that the Fong score does not: shares of its attributions, and its spread at equal score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from radiomics_crlm.clinical import inputs_of
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, figure, group, paragraph, row, share, table, value
from radiomics_crlm.report.drawing import axis_top
from radiomics_crlm.report.wording import SMALL_CELL, fixed, listed, main_clause, months_text

SCORE = "fong_crs"
FEWEST = 10
"""Patients with the same score for whom a spread is told."""
_LOW, _HIGH = 0.1, 0.9
_MONTHS = 24
_WHAT = "What the model sees that the score does not"
_KINDS = {
    "score": "components of the Fong score",
    "clinical": "other clinical inputs",
    "radiomics": "radiomics",
}


def beside_score(artefacts: Artefacts, endpoint: str, model: str) -> list[Part]:
    """Shares of the mean absolute SHAP value, and predictions among patients of equal score."""
    rows = artefacts.of_endpoint("attributions", endpoint)
    groups = artefacts.of_endpoint("input_groups", endpoint)
    if rows is None or groups is None:
        return [absent(_WHAT, artefacts.why_absent("input_groups" if rows is not None else "attributions"))]
    blocks = groups.loc[groups["model"] == model].set_index("feature")["block"]
    shares = block_shares(rows.loc[rows["model"] == model], blocks)
    spread = _spread(artefacts, endpoint, model)
    return [paragraph(_sentence(shares, spread)), _table(shares), *_spread_blocks(spread)]


def block_shares(attributions: pd.DataFrame, blocks: pd.Series) -> dict[str, dict[str, float]]:
    """Mean absolute sum of the attributions of each kind of input, and its share of all kinds.

    Parameters
    ----------
    attributions
        Rows of one endpoint and model.
    blocks
        ``clinical`` or ``radiomics`` by input.
    """
    known = set(inputs_of(SCORE))

    def kind(feature: str) -> str:
        name = feature.removesuffix(" (missing)").partition("=")[0]
        return "score" if name in known else str(blocks[feature])

    kinds = {feature: kind(feature) for feature in attributions["feature"].unique()}
    total = attributions.groupby([attributions["feature"].map(kinds), "patient_id"])["attribution"].sum()
    size = {name: float(part.abs().mean()) for name, part in total.groupby(level=0)}
    whole = sum(size.values())
    count = pd.Series(kinds).value_counts()
    return {
        name: {"mean": size[name], "share": size[name] / whole if whole else math.nan, "inputs": int(count[name])}
        for name in _KINDS
        if name in size
    }


def _table(shares: dict[str, dict[str, float]]) -> Part:
    lines = [
        row(_KINDS[name].capitalize() if name != "score" else "Components of the Fong score", [
            value(int(one["inputs"]), 0), value(round(one["mean"], 5), 3), share(round(one["share"], 4)),
        ])
        for name, one in shares.items()
    ]  # fmt: skip
    return table(
        _WHAT,
        "Inputs",
        [column("Inputs"), column("Mean |SHAP|", "of their sum"), column("Share")],
        [group(lines)],
        note=(
            "Attributions are summed over the inputs of a kind before their size is taken. The score knows "
            "node-positive "
            "primary, disease-free interval, number and size of the metastases and CEA, each as yes or no; the model "
            "may "
            "read them as numbers. Volumes and counts measured on images are radiomics here."
        ),
    )


def _sentence(shares: dict[str, dict[str, float]], spread: Part) -> str:
    told = [f"{fixed(100 * one['share'], 0)} % from {_KINDS[name]}" for name, one in shares.items()]
    told[:1] = [one.replace("% from", "% comes from") for one in told[:1]]
    text = f"Of what moves this model, {listed(told)}."
    if "rows" in spread:
        wide = fixed(100 * spread["mean_width"], 0)
        text += (
            f" Among patients with the same Fong score the middle 80 % of its predictions still span {wide} percentage "
            "points on average: that is what the score does not tell apart."
        )
    return text


def _spread(artefacts: Artefacts, endpoint: str, model: str) -> Part:
    """Quantiles of the mean out-of-fold probability among patients with the same score."""
    predictions, rules = artefacts.of_endpoint("predictions", endpoint), artefacts.tables.get("rules")
    if predictions is None or rules is None:
        return {"absent": artefacts.why_absent("rules" if rules is None else "predictions")}
    rules = rules.loc[(rules["rule"] == SCORE) & rules["score"].notna()]
    if rules.empty:
        return {"absent": "the run did not assess the Fong score"}
    own = predictions.loc[predictions["model"] == model]
    horizon = artefacts.endpoints[endpoint].horizon_months
    name = f"probability_{_MONTHS if horizon is None else horizon:g}m"
    if name not in own or own[name].isna().any():
        return {"absent": "the model gives no probability at this time"}
    chance = own.groupby("patient_id")[name].mean()
    score = rules.set_index("patient_id")["score"].reindex(chance.index)
    kept = _kept({float(s): chance[score == s] for s in sorted(score.dropna().unique())})
    if not kept:
        return {"absent": f"no score has {FEWEST} patients"}
    return {
        "rows": kept,
        "n": int(score.notna().sum()),
        "months": months_text(float(_MONTHS if horizon is None else horizon)),
        "title": main_clause(artefacts.model_title(SCORE)),
        "mean_width": round(float(np.average([r["high"] - r["low"] for r in kept], weights=[r["n"] for r in kept])), 4),
    }


def _kept(by_score: dict[float, pd.Series]) -> list[Part]:
    """Scores with enough patients. Where the total would tell how few have another score, one more is left out."""
    kept = {score: chance for score, chance in by_score.items() if chance.size >= FEWEST}
    out = [chance.size for score, chance in by_score.items() if score not in kept]
    if kept and sum(out) < SMALL_CELL and out:
        del kept[min(kept, key=lambda score: (kept[score].size, score))]
    return [_of_score(score, chance) for score, chance in kept.items()]


def _of_score(score: float, chance: pd.Series) -> Part:
    low, median, high = (round(float(q), 4) for q in np.quantile(chance, [_LOW, 0.5, _HIGH]))
    texts = [fixed(100 * q, 0) for q in (low, median, high)]
    described = (
        f"score {score:g}, {chance.size} patients: median {texts[1]} %, middle 80 % from {texts[0]} to {texts[2]} %"
    )
    return {"score": score, "n": int(chance.size), "low": low, "median": median, "high": high, "described": described}


def _spread_blocks(spread: Part) -> list[Part]:
    what = "Predictions among patients with the same score"
    if "absent" in spread:
        return [absent(what, spread["absent"])]
    rows = spread["rows"]
    lines = [
        row(
            f"{r['score']:g}",
            [
                value(r["n"], 0),
                share(r["median"]),
                cell(f"{fixed(100 * r['low'], 0)} to {fixed(100 * r['high'], 0)} %", low=r["low"], high=r["high"]),
            ],
        )
        for r in rows
    ]
    quantity = f"Predicted probability within {spread['months']}"
    data = {"rows": rows, "score": spread["title"], "quantity": quantity, "top": axis_top([r["high"] for r in rows])}
    caption = (
        f"Diamond: median; bar: middle 80 % of the patients with this score; number: patients. Mean out-of-fold "
        f"probability "
        f"within {spread['months']}; scores with fewer than {FEWEST} patients are left out."
    )
    return [
        figure("score_spread", what, caption, data, narrow=True),
        table(
            what,
            spread["title"],
            [column("Patients"), column("Median prediction"), column("Middle 80 %", words=True)],
            [group(lines)],
        ),
    ]
