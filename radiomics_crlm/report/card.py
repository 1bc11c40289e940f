"""The content of the card as one JSON object: every figure that the page shows is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import write_json, write_text
from radiomics_crlm.report import participants
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts
from radiomics_crlm.report.checklists import write_checklists
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.page import draw_figures, render_card
from radiomics_crlm.report.pdf import write_pdf
from radiomics_crlm.report.wording import cleaned

Part = dict[str, Any]

CARD_VERSION = 2


def build_card(out: Path) -> Part:
    """Content of the card of a run folder.

    A part whose artefact is not there carries ``absent`` with the reason instead of its content. No patient-level
    value, key, date or path is in the result; counts below 5 in a category are hidden. The same artefacts give the
    same card.

    Parameters
    ----------
    out
        Run folder with ``run.json`` and ``tables/``.

    Returns
    -------
    dict
        Plain JSON; ``sections`` says what of it the page shows, in which order.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or does not hold a valid experiment.
    """
    return _build(load_artefacts(out))


def _build(artefacts: Artefacts) -> Part:
    card: Part = {
        "card_version": CARD_VERSION,
        "name": artefacts.experiment.name,
        "title": artefacts.experiment.title,
        "question": artefacts.experiment.question,
        "cohort": _cohort(artefacts),
        "leak": participants.leak(artefacts),
        "sections": [],
    }
    for part in SECTIONS:
        for key, build in part.parts:
            card[key] = build(artefacts, card)
        listed_part = {"id": part.ident, "title": part.title, "short": part.short, "lead": part.lead}
        keys = {"parts": [key for key, _ in part.parts], "blocks": list(part.blocks)}
        card["sections"].append(listed_part | keys | {"template": part.template})
    card["notices"] = _notices(artefacts, card)
    text: Part = cleaned(card)
    return text


def write_card(out: Path) -> Path:
    """Write ``card.json``, ``card.html`` and ``figures/*.svg`` into a run folder, each atomically; returns the page.

    The checklists beside the card are made if there are none, and else shown as far as their files are unchanged.

    Raises
    ------
    InputError, ConfigError
        As :func:`build_card`.
    """
    artefacts = load_artefacts(out)
    write_checklists(out, artefacts, anew=False)
    card = _build(artefacts)
    drawn = draw_figures(card)
    write_json(out / "card.json", card)
    for name, svg in drawn.items():
        write_text(out / "figures" / f"{name}.svg", svg)
    write_text(out / "card.html", render_card(card, drawn))
    return out / "card.html"


def write_card_pdf(out: Path) -> Path:
    """Write the card of a run folder, as it is there, as ``card.pdf``; the same card gives the same bytes.

    Raises
    ------
    ConfigError
        If WeasyPrint or the system libraries below it are missing.
    InputError
        If the folder has no card.
    """
    page, path = out / "card.html", out / "card.pdf"
    if not page.is_file():
        raise InputError("the run has no card", expected="a file card.html", remedy="write it with crlm card FOLDER")
    write_pdf(page.read_text(encoding="utf-8"), path, title="Model card")
    return path


def _cohort(artefacts: Artefacts) -> Part:
    recorded = artefacts.part("cohort")
    return {
        "name": recorded.get("name") or "not named",
        "citation": recorded.get("citation") or "",
        "simulated": bool(recorded.get("simulated", False)),
        "patients_in": recorded.get("patients_in"),
    }


_LEAK = (
    "LEAK: predictors that are known only after the moment of prediction were let in on purpose. The performance shown "
    "is not attainable in practice and must not be quoted."
)
_FLOW = (
    "The participant flow does not add up: patients in differ from patients out plus exclusions. Find out why before "
    "using any figure."
)
_SIMULATED = (
    "Simulated data: these patients do not exist. The card shows that the program works; it says nothing about real "
    "patients."
)


def _notices(artefacts: Artefacts, card: Part) -> list[Part]:
    """What the reader must see before any figure, gravest first."""
    notices: list[Part] = []
    if card["leak"]["allowed"] and card["leak"]["admitted"]:
        groups = participants.admitted_by_moment(artefacts, card["leak"]["admitted"])
        notices.append({"kind": "leak", "title": "Leak", "text": _LEAK, "groups": groups})
    stages = [] if "absent" in card["flow"] else [card["flow"]["cohort"], *card["flow"]["endpoints"]]
    if any(stage.get("adds_up") is False for stage in stages):
        notices.append({"kind": "flow", "title": "Participant flow", "text": _FLOW})
    if not artefacts.experiment.performance_claim:
        reasons = " ".join(card["cautions"]) or "The experiment does not support one."
        notices.append({"kind": "claim", "title": "No performance claim", "text": f"No performance claim: {reasons}"})
    if card["cohort"]["simulated"]:
        notices.append({"kind": "simulated", "title": "Simulated data", "text": _SIMULATED})
    return notices
