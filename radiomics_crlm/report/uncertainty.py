"""Prediction sets and lower bounds of the delivered models: how often they hold, and for whom."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import (
    Part,
    absent,
    bullets,
    cell,
    column,
    count,
    group,
    heading,
    paragraph,
    row,
    section,
    share,
    table,
    value,
)
from radiomics_crlm.report.participants import described
from radiomics_crlm.report.wording import NO_VALUE, months_text

_HIDDEN = "not shown"
_LEVELS = {
    ("all", "all"): "All patients",
    ("outcome", "event"): "Patients with the event",
    ("outcome", "no_event"): "Patients without it",
}
_NOTE = (
    "Out-of-fold predictions, weighted for censoring. About 90 % over all patients is so by construction; what matters "
    "is for whom it is less. Groups with fewer than 10 known outcomes are not shown; differences between them are not "
    "tested."
)


def uncertainty(artefacts: Artefacts, _: Part) -> Part:
    """Coverage of the conformal sets and bounds of each delivered model, in all patients and in groups."""
    if "conformal_coverage" not in artefacts.tables:
        return section([absent("Prediction sets", artefacts.why_absent("conformal_coverage"))])
    blocks: list[Part] = [
        paragraph(
            "With each prediction the bundle says which outcomes are plausible by a month: event, no event, or either "
            "where the model does not tell. For the time to an event it gives a time before which the event is not to "
            "be expected. Both hold for about 90 % of patients like those of the training, taken together; they "
            "promise nothing for one patient, nor for patients of another kind."
        )
    ]
    for name, config in artefacts.endpoints.items():
        rows = artefacts.of_endpoint("conformal_coverage", name)
        if rows is None:
            continue
        model = artefacts.model_title(str(rows["model"].iloc[0]))
        blocks += [heading(config.title), _table(f"{model}: coverage of the 90 % prediction sets and bounds", rows)]
    return section(blocks)


def _table(caption: str, rows: pd.DataFrame) -> Part:
    asked = rows[["kind", "horizon_months"]].drop_duplicates().itertuples(index=False, name=None)
    kinds = [(str(kind), float(months)) for kind, months in asked]
    columns = [column("Patients")]
    for kind, months in kinds:
        if kind == "outcome_set":
            columns += [
                column(f"Set at {months_text(months)}", "covered"), column("One outcome", "share of sets that name one")
            ]  # fmt: skip
        else:
            columns += [column("Time free of the event", "covered"), column("Its median", "months")]
    lines: dict[str, list[Part]] = {}
    for (name, level), own in rows.groupby(["column", "level"], sort=False):
        title = "" if (name, level) in _LEVELS else described(str(name))
        head = _LEVELS.get((str(name), str(level)), str(level))
        lines.setdefault(title, []).append(row(head, _cells(own, kinds), strong=(name, level) == ("all", "all")))
    return table(caption, "Group", columns, [group(found, title) for title, found in lines.items()], note=_NOTE)


def _cells(own: pd.DataFrame, kinds: list[tuple[str, float]]) -> list[Part]:
    cells = [count(int(own["n"].max()))]
    for kind, months in kinds:
        here = own.loc[(own["kind"] == kind) & (own["horizon_months"] == months)]
        if here.empty:
            cells += [cell(NO_VALUE, absent="not applicable")] * 2
        elif here["covered"].isna().all():
            cells += [cell(_HIDDEN, value=None)] * 2
        else:
            first = here.iloc[0]
            told = (
                share(_rounded(first["single"]))
                if kind == "outcome_set"
                else value(_rounded(first["median_months"]), 1)
            )
            cells += [share(_rounded(first["covered"])), told]
    return cells


def _rounded(amount: float) -> float | None:
    return None if pd.isna(amount) else round(float(amount), 4)


def data_shift(artefacts: Artefacts, _: Part) -> Part:
    """What a bundle does about patients and cohorts unlike those of its training."""
    if not artefacts.part("delivered"):
        return section([absent("Data shift policy", "the study delivered no model")])
    return section(
        [
            paragraph(
                "A model is as good as the likeness of its patients to those it learned from. The bundle keeps "
                "summaries of its training for this: bins of each input, never values of a patient."
            ),
            heading("Each patient"),
            bullets(
                [
                    "A value far outside of the training range, or off as if in another unit, is flagged by the name "
                    "of its column.",
                    "Inputs that are unusual together are flagged as out of distribution: further from the training "
                    "than about 99 % of patients like those of the training.",
                    "A scan that was extracted with other settings or another engine is not scored.",
                    "A flagged prediction is for review by a person; intervals do not hold for such patients.",
                ]
            ),
            heading("Each cohort"),
            bullets(
                [
                    "Every input, its missing values, and scanner, centre and slice thickness where the training knew "
                    "them are compared with the training. The verdict names what differs; a cohort of the same kind is "
                    "suspected in at most 5 % of cases.",
                    "Fewer than 10 patients are not judged; below 50 only large shifts would show.",
                    "Where outcomes are given, observed events are set against expected ones.",
                    "A shifted cohort should not be acted on before the cause is known: correct units and protocols, "
                    "else validate or recalibrate the model there first.",
                ]
            ),
        ]
    )
