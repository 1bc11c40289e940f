"""The stability of features on one page: how many of each kind are stable, and every feature with its interval."""

from __future__ import annotations

from typing import Any

import pandas as pd

from radiomics_crlm.report.page import environment

# Correlations from which a feature is said to follow what it is correlated with (a choice of this project).
_CLOSE = 0.8


def render_robustness(stability: pd.DataFrame) -> str:
    """HTML page of a table ``feature_stability``; no script, no request, and the same table gives the same bytes.

    Parameters
    ----------
    stability
        Table ``feature_stability``; it holds no patient.
    """
    kinds = stability.groupby(["modality", "sequence", "raters"], sort=False)
    groups = [_group(rows) for _, rows in kinds]
    return environment().get_template("robustness.html.j2").render(groups=groups, close=_CLOSE)


def _group(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    names = rows["feature"].str.removeprefix("lesion__").str.split("_", n=2, expand=True)
    kinds = rows.assign(image=names[0].to_numpy(), kind=names[1].to_numpy())
    counts = {
        (str(image), str(kind)): f"{int(part['stable'].sum())} of {len(part)}"
        for (image, kind), part in kinds.groupby(["image", "kind"], sort=False)
    }
    images = list(dict.fromkeys(image for image, _ in counts))
    classes = [
        {"name": kind, "cells": [counts.get((image, kind), "") for image in images]}
        for kind in dict.fromkeys(kind for _, kind in counts)
    ]
    ordered = rows.sort_values(["icc2_lower", "feature"], ascending=[False, True], na_position="last", kind="stable")
    return {
        "title": f"{first['modality']}, {first['sequence']}: {first['raters']}",
        "raters": int(first["n_raters"]),
        "lesions": int(rows["lesions"].max()),
        "bound": f"{first['bound']:.2f}",
        "stable": int(rows["stable"].sum()),
        "total": len(rows),
        "follow_volume": int((rows["volume_spearman"].abs() >= _CLOSE).sum()),
        "images": images,
        "classes": classes,
        "features": [_feature(row) for row in ordered.to_dict("records")],
    }


def _feature(row: dict[Any, Any]) -> dict[str, Any]:
    numbers = {
        name: _number(row[name])
        for name in ("icc2", "icc3", "volume_spearman", "shuffled_spearman", "elsewhere_spearman")
    }
    known = pd.notna(row["icc2_lower"]) and pd.notna(row["icc2_upper"])
    low, high = (min(max(float(row[f"icc2_{end}"]), 0.0), 1.0) if known else 0.0 for end in ("lower", "upper"))
    return {
        "name": str(row["feature"]).removeprefix("lesion__"),
        "stable": bool(row["stable"]),
        "flag": "" if pd.isna(row["flag"]) else str(row["flag"]).replace("_", " "),
        "lesions": int(row["lesions"]),
        "interval": f"{_number(row['icc2_lower'])} to {_number(row['icc2_upper'])}" if known else "",
        "left": f"{100 * low:.1f}",
        "width": f"{max(100 * (high - low), 1.0):.1f}",
        "drawn": known,
        **numbers,
    }


def _number(value: Any) -> str:
    return "" if pd.isna(value) else f"{float(value):.2f}"
