"""The question, answered: the table of arms and the sentence of each endpoint, as the card shows them."""

from __future__ import annotations

from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, caution, cell, column, group, heading, paragraph, row, section
from radiomics_crlm.report.blocks import estimate as estimate_cell
from radiomics_crlm.report.blocks import table as block_table
from radiomics_crlm.report.blocks import value as number_cell
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.verdicts import answer_sentence
from radiomics_crlm.report.wording import ARM_TITLES, METRIC_TITLES, deciding_decimals, interval, number, p_text

_MEANINGS = {
    "negative_control": "must not beat the clinical model",
    "permuted_outcome": "must be at chance",
}
_VERDICTS = {
    "adds": "better",
    "no_evidence": "no evidence of a difference",
    "worse": "worse",
    "not_estimable": "not estimable",
    "absent": "absent",
}
_ALARMS = ("negative_control", "permuted_outcome")
_COUNTS = ("n", "events")
_NUMBERS = ("estimate", "lower", "upper", "difference", "difference_lower", "difference_upper", "p_value")


def answers(artefacts: Artefacts, card: Part) -> Part:
    """The section: for each endpoint the sentence, the arms and how they were compared.

    Beside the blocks, ``endpoints`` holds the sentence and the rows of each endpoint as plain values.

    Parameters
    ----------
    artefacts
        Saved artefacts of the run.
    card
        Parts of the card made before; of them ``leak`` is read.
    """
    if artefacts.experiment.answer is None:
        return section([absent("Answer", "the experiment names no arms to compare")]) | {"endpoints": []}
    leak = card["leak"]
    blocks: list[Part] = []
    endpoints: list[Part] = []
    for name, config in artefacts.endpoints.items():
        blocks.append(heading(config.title))
        found = artefacts.of_endpoint("answers", name)
        if found is None:
            blocks.append(absent("Answer", artefacts.why_absent("answers")))
            continue
        rows = [{str(key): _plain(str(key), value) for key, value in one.items()} for one in found.to_dict("records")]
        leaked = bool(leak["allowed"]) and name in leak["endpoints"]
        sentence = _sentence(artefacts, rows, leaked=leaked)
        alarmed = leaked or any(one["arm"] in _ALARMS and one["verdict"] == "adds" for one in rows)
        blocks.append(caution(sentence) if alarmed else paragraph(sentence))
        blocks.append(_table(artefacts, config.title, METRIC_TITLES[primary_metric(config)], rows))
        endpoints.append({"endpoint": name, "title": config.title, "sentence": sentence, "rows": rows})
    return section(blocks) | {"endpoints": endpoints}


def _plain(key: str, value: Any) -> float | int | str | None:
    """A value with None for what is missing."""
    if key in _COUNTS:
        found = number(value)
        return None if found is None else int(found)
    if key in _NUMBERS:
        return number(value)
    return value if isinstance(value, str) and value else None


def _sentence(artefacts: Artefacts, rows: list[Part], *, leaked: bool) -> str:
    sentence = answer_sentence(rows)
    if leaked:
        return f"Not valid, because of the leak: {sentence}"
    return sentence if artefacts.experiment.performance_claim else f"No performance claim. {sentence}"


def _table(artefacts: Artefacts, title: str, metric: str, rows: list[Part]) -> Part:
    columns = [
        column("Model or score", words=True),
        column("n"),
        column("Events"),
        column(metric),
        column("Set against", words=True),
        column("Difference"),
        column("p"),
        column("Verdict", words=True),
    ]
    methods: dict[str, list[str]] = {}
    for one in rows:
        if one["method"]:
            methods.setdefault(one["method"], []).append(ARM_TITLES[one["arm"]])
    note = " ".join(f"{', '.join(arms)}: {method}." for method, arms in methods.items())
    caption = f"Arms of the question, {metric} with 95 % intervals: {title}"
    return block_table(caption, "Arm", columns, [group([_row(artefacts, one) for one in rows])], note=note)


def _row(artefacts: Artefacts, one: Part) -> Part:
    arm, verdict, reason = one["arm"], one["verdict"], one["reason"] or ""
    if verdict == "absent":
        blank = [cell("", absent="absent") for _ in range(7)]
        return row(ARM_TITLES[arm], [*blank, cell(_VERDICTS[verdict])], under=reason)
    limits = one["difference_lower"], one["difference_upper"]
    difference = interval(one["difference"], *limits, deciding_decimals(limits, 3), signed=True)
    alarm = arm in _ALARMS and verdict == "adds"
    against = one["reference"]
    cells = [
        cell(artefacts.model_title(one["model"])),
        number_cell(one["n"], 0),
        number_cell(one["events"], 0),
        estimate_cell(one),
        cell("chance (0.5)" if against == "chance" else artefacts.model_title(against)),
        cell(difference, value=one["difference"], lower=limits[0], upper=limits[1]),
        cell(p_text(one["p_value"]), value=one["p_value"]),
        cell("ALARM: better" if alarm else _VERDICTS[verdict]),
    ]
    remark = "; ".join(word for word in (_MEANINGS.get(arm, ""), reason) if word)
    return row(ARM_TITLES[arm], cells, under=remark, strong=arm == "combined")
