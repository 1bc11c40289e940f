"""Whether there were enough patients for what was to be fitted, as the table ``sample_size`` says before any fit."""

from __future__ import annotations

from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    cell,
    column,
    figure,
    group,
    paragraph,
    row,
    section,
    share,
    value,
)
from radiomics_crlm.report.blocks import table as block_table
from radiomics_crlm.report.wording import months_text


def sample_size(artefacts: Artefacts, _: Part) -> Part:
    """Patients and events that there are, beside those that the criteria of Riley ask for."""
    if "sample_size" not in artefacts.tables:
        return section([absent("Sample-size panel", artefacts.why_absent("sample_size"))])
    rows = artefacts.tables["sample_size"].to_dict("records")
    if not rows:
        return section([absent("Sample-size panel", "the table has no rows")])
    enough = sum(bool(r["sufficient"]) for r in rows)
    drawn = [_drawn(artefacts, r) for r in rows]
    return section(
        [
            paragraph(
                f"In {enough} of {len(rows)} combinations of endpoint and feature set there are as many patients as "
                "the criteria ask for. Where there are fewer, predictions must be expected to be too extreme and "
                "unstable; penalties soften that and do not cure it."
            ),
            figure(
                "sample_sizes",
                "Patients there are and patients needed",
                "Patients there are (filled) and patients needed by the largest of the three criteria (open), on a "
                "logarithmic axis. Where the filled mark is right of the open one, there are enough.",
                {"rows": drawn},
            ),
            _table(artefacts, rows),
        ]
    )


def _table(artefacts: Artefacts, rows: list[dict[Any, Any]]) -> Part:
    groups = []
    for name, config in artefacts.endpoints.items():
        own = [r for r in rows if r["endpoint"] == name]
        if own:
            risk = f"risk {100 * own[0]['overall_risk']:.0f} % by {months_text(own[0]['timepoint_months'])}"
            groups.append(group([_row(artefacts, r) for r in own], f"{config.title}: {risk}"))
    shrinkage = rows[0]["shrinkage_wanted"]
    return block_table(
        "Sample size by endpoint and feature set, before anything was fitted",
        "Feature set",
        [
            column("Patients"),
            column("Events"),
            column("Inputs", "candidates, before selection"),
            column("Events per input"),
            column("Needed: shrinkage", f"of {shrinkage:g} or more"),
            column("Needed: optimism", "in R² at most 0.05"),
            column("Needed: risk", "known to ± 0.05"),
            column("Expected shrinkage", "with the patients there are"),
            column("Enough?", words=True),
        ],
        groups,
        note=f"Anticipated R² (Cox-Snell): {100 * rows[0]['r2_anticipated'] / rows[0]['r2_max']:.0f} % of the largest "
        "possible. Riley et al. 2019, doi:10.1002/sim.7992; 2020, doi:10.1136/bmj.m441.",
    )


def _row(artefacts: Artefacts, r: dict[Any, Any]) -> Part:
    names = ("n", "events", "parameters")
    needed = ("n_shrinkage", "n_optimism", "n_precision")
    cells = [value(r[name], 0) for name in names] + [value(r["events_per_parameter"], 1)]
    cells += [value(r[name], 0) for name in needed]
    cells += [share(r["shrinkage_expected"]), cell("yes" if r["sufficient"] else "no", value=bool(r["sufficient"]))]
    return row(_title(artefacts, str(r["feature_set"])), cells)


def _title(artefacts: Artefacts, feature_set: str) -> str:
    body = artefacts.experiment.feature_sets.get(feature_set)
    return body.title if body is not None else feature_set.replace("_", " ")


def _drawn(artefacts: Artefacts, r: dict[Any, Any]) -> Part:
    config = artefacts.endpoints.get(str(r["endpoint"]))
    return {
        "title": _title(artefacts, str(r["feature_set"])),
        "group": config.title if config else str(r["endpoint"]),
        "n": int(r["n"]),
        "needed": int(r["n_required"]),
        "sufficient": bool(r["sufficient"]),
    }
