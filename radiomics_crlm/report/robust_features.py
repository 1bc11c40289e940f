"""Whether features survive small changes, whether they are more than volume, and what negative controls say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.evaluation.correlation import spearman
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    cell,
    column,
    estimate,
    figure,
    group,
    heading,
    paragraph,
    row,
    section,
    table,
    value,
)
from radiomics_crlm.report.followed import model_order
from radiomics_crlm.report.wording import NO_VALUE, fixed, interval, number
from radiomics_crlm.schema import AVAILABILITY

_CLOSE = 0.8
_VOLUME = "burden__total_volume_ml"
_MOST_ROWS = 60
_FEWEST = 20


def robustness(artefacts: Artefacts, _: Part) -> Part:
    """Volume behind the predictions of every model, then the stability of the features as far as it was measured."""
    if not _used(artefacts):
        return section([absent("Robustness of the features", "no model of this experiment uses radiomics")])
    blocks = [
        heading("Does the prediction follow the volume?"),
        *_volume(artefacts),
        heading("Stability of the features"),
    ]
    if "feature_stability" not in artefacts.tables:
        reason = artefacts.why_absent("feature_stability")
        return section([*blocks, absent("Stability and negative controls of the features", reason)])
    kinds = artefacts.tables["feature_stability"].groupby(["modality", "sequence", "raters"], sort=False)
    for _key, rows in kinds:
        blocks += _kind(artefacts, rows)
    return section(blocks)


def _used(artefacts: Artefacts) -> list[str]:
    """Radiomic columns of any model, in the order of the record."""
    columns = (
        str(c) for models in artefacts.part("models").values() for m in models.values() for c in m.get("columns", [])
    )
    return [c for c in dict.fromkeys(columns) if "__" in c]


def _volume(artefacts: Artefacts) -> list[Part]:
    """Rank correlation of the mean out-of-fold risk with the volume of all lesions."""
    what = "Correlation of predictions with the volume"
    table_name = "features_patient"
    if table_name not in artefacts.tables or _VOLUME not in artefacts.tables[table_name]:
        return [absent(what, artefacts.why_absent(table_name))]
    groups = []
    for name, config in artefacts.endpoints.items():
        rows = artefacts.of_endpoint("predictions", name)
        if rows is not None:
            volume = _volumes(artefacts, config.prediction_time)
            mean = rows.groupby(["model", "patient_id"])["risk"].mean()
            lines = [_line(artefacts, m, mean[m], volume) for m in model_order(artefacts, rows["model"])]
            groups.append(group([line for line in lines if line is not None], config.title))
    groups = [g for g in groups if g["rows"]]
    if not groups:
        return [absent(what, f"fewer than {_FEWEST} patients have both")]
    return [
        paragraph(
            "Many texture features grow with the size of a lesion. A model whose predictions follow the volume "
            "closely has found an expensive way to measure volume."
        ),
        table(
            "Rank correlation of the predicted risk with the total volume of the metastases, with 95 % intervals",
            "Model",
            [column("Patients"), column("Spearman correlation", "1 or −1: nothing but volume")],
            groups,
        ),
    ]


def _volumes(artefacts: Artefacts, speaks_at: str) -> pd.Series:
    """Volume of all lesions by patient, on the latest scan that the model may see."""
    rows = artefacts.tables["features_patient"]
    sets = artefacts.experiment.feature_sets.values()
    kinds = {(wanted.modality, wanted.sequence) for body in sets for wanted in body.selections}
    known = AVAILABILITY[: AVAILABILITY.index(speaks_at) + 1]
    wanted = [
        (m, s) in kinds and t in known
        for m, s, t in zip(rows["modality"], rows["sequence"], rows["timepoint"], strict=True)
    ]
    rows = rows.loc[np.asarray(wanted, dtype=bool)]
    order = rows["timepoint"].map({moment: k for k, moment in enumerate(AVAILABILITY)})
    latest = rows.assign(order=order).sort_values("order", kind="stable").drop_duplicates("patient_id", keep="last")
    return latest.set_index("patient_id")[_VOLUME].astype(float)


def _line(artefacts: Artefacts, model: str, risk: pd.Series, volume: pd.Series) -> Part | None:
    both = pd.concat({"risk": risk, "volume": volume}, axis=1, join="inner").dropna()
    if len(both) < _FEWEST:
        return None
    found = spearman(both[["risk"]].to_numpy(dtype=float), both["volume"].to_numpy(dtype=float))
    numbers = {
        "estimate": round(float(found.estimate[0]), 4),
        "lower": round(float(found.lower[0]), 4),
        "upper": round(float(found.upper[0]), 4),
    }
    return row(artefacts.model_title(model), [value(len(both), 0), estimate(numbers)])


def _kind(artefacts: Artefacts, rows: pd.DataFrame) -> list[Part]:
    first = rows.iloc[0]
    raters = "perturbations of the scan and its outline" if first["raters"] == "perturbations" else "other readers"
    sequence = str(first["sequence"]).replace("_", " ")
    title = f"{first['modality']}, {sequence}: {raters}"
    drawn = _classes(rows)
    return [
        paragraph(_summary(rows, title)),
        figure(
            "stability", f"Stable features: {title}", f"Stable features by image and class: {title}.", {"rows": drawn}
        ),
        _features(artefacts, rows, title),
    ]


def _summary(rows: pd.DataFrame, title: str) -> str:
    """How many features are stable, follow the volume, and fail a negative control."""
    first = rows.iloc[0]
    names = ("volume_spearman", "shuffled_spearman", "elsewhere_spearman")
    counts = {k: f"{int((rows[k].abs() >= _CLOSE).sum())} of {int(rows[k].notna().sum())}" for k in names}
    text = (
        f"{title}. {int(rows['stable'].sum())} of {len(rows)} features are stable: the lower 95 % limit of ICC(2,1) "
        f"over {int(first['n_raters'])} ratings of up to {int(rows['lesions'].max())} lesions reaches "
        f"{first['bound']:.2f}. {counts['volume_spearman']} follow the volume of the lesion (rank correlation of "
        f"{_CLOSE} or more, either way)."
    )
    if rows["shuffled_spearman"].notna().any():
        text += (
            f" Negative controls: {counts['shuffled_spearman']} hardly change when the voxels of the lesion are put in "
            "random order, so they do not see texture."
        )
    if rows["elsewhere_spearman"].notna().any():
        text += (
            f" {counts['elsewhere_spearman']} agree with the same shape laid over healthy liver, so they do not see "
            "the lesion."
        )
    return text


def _classes(rows: pd.DataFrame) -> list[Part]:
    parts = rows["feature"].str.removeprefix("lesion__").str.split("_", n=2, expand=True)
    grouped = rows.assign(kind=parts[0].astype(str) + " " + parts[1].astype(str)).groupby("kind", sort=False)["stable"]
    return [{"title": str(kind), "stable": int(part.sum()), "total": len(part)} for kind, part in grouped]


def _features(artefacts: Artefacts, rows: pd.DataFrame, title: str) -> Part:
    """Features that models of this run were offered; without any of them, the most stable."""
    offered = {c.rpartition("__")[2] for c in _used(artefacts)}
    named = rows.assign(name=rows["feature"].str.removeprefix("lesion__"))
    own = named.loc[named["name"].isin(offered)]
    listed = own if len(own) else named
    ordered = listed.sort_values(["icc2_lower", "name"], ascending=[False, True], na_position="last", kind="stable")
    shown = ordered.head(_MOST_ROWS)
    which = "offered to the models" if len(own) else "measured"
    return table(
        f"Features {which}, most stable first, {len(shown)} of {len(ordered)}: {title}",
        "Feature",
        [
            column("Stable", words=True),
            column("ICC(2,1)", "1: every rating alike"),
            column("With volume", "rank correlation"),
            column("With shuffled voxels", "near 1: sees no texture"),
            column("With healthy liver", "near 1: does not see the lesion"),
        ],
        [group([_feature(r) for r in shown.to_dict("records")])],
        fold=f"Features {which}: {title}",
    )


def _feature(r: dict[Any, Any]) -> Part:
    icc = {"estimate": number(r["icc2"]), "lower": number(r["icc2_lower"]), "upper": number(r["icc2_upper"])}
    known = icc["estimate"] is not None
    text = (
        interval(icc["estimate"], icc["lower"], icc["upper"]) if known else str(r["flag"] or NO_VALUE).replace("_", " ")
    )
    names = ("volume_spearman", "shuffled_spearman", "elsewhere_spearman")
    others = [cell(fixed(number(r[k])), value=number(r[k])) for k in names]
    return row(
        str(r["name"]), [cell("yes" if r["stable"] else "no", value=bool(r["stable"])), cell(text, **icc), *others]
    )
