"""The checklists of a run, filled in: an answer for every item, with its evidence, and what is left for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from radiomics_crlm.config import Strict, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.provenance.files import read_json, sha256_file
from radiomics_crlm.report.artefacts import Artefacts, patient_keys, without_keys
from radiomics_crlm.report.checklists.evidence import Fact, Sources
from radiomics_crlm.report.checklists.facts import find_facts
from radiomics_crlm.report.checklists.items import Checklist, Item, load_checklists
from radiomics_crlm.report.wording import cleaned

Part = dict[str, Any]
Answer = Literal["yes", "no", "not_applicable", "needs_a_person"]

VERSION = 1
NEEDS_A_PERSON: Answer = "needs_a_person"
CHECKLISTS_JSON = "checklists.json"
_DECIMALS = 4


class Evidence(Strict):
    """A file of the run, its hash, the place in it, and what stands there."""

    file: str
    sha256: str
    place: str
    shows: str


class Answered(Strict):
    """An item with its answer; ``left`` says what a person has to add."""

    id: str
    section: str
    text: str
    answer: Answer
    evidence: tuple[Evidence, ...]
    left: str
    points: float
    least: float
    proven: float | None


class Points(Strict):
    """What the answers are worth: proven, at most and at least once a person has answered, and out of how many."""

    proven: float
    lowest: float
    highest: float
    of: float


class Filled(Strict):
    """A checklist of a run."""

    name: str
    title: str
    full: str
    doi: str
    version: str
    unit: Literal["weight", "points"] | None
    applies: bool
    counts: dict[Answer, int]
    partly: int
    points: Points | None
    items: tuple[Answered, ...]


class Record(Strict):
    """The content of ``checklists.json``."""

    checklists_version: Literal[1]
    experiment: str
    checklists: tuple[Filled, ...]


def build_checklists(out: Path, artefacts: Artefacts | None = None) -> Part:
    """Fill in all checklists from the files of a run folder; nothing is written.

    An item is answered ``yes``, ``no`` or ``not_applicable`` only with evidence. An item of which files prove a part
    stays ``needs_a_person`` and bears that evidence. Answers that need radiomics are not given where the experiment
    has none: ``applies`` is then false and there are no points.

    Parameters
    ----------
    out
        Run folder.
    artefacts
        What was read from it already.

    Returns
    -------
    dict
        Plain JSON (:class:`Record`); the same files give the same content.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or does not hold a valid experiment.
    """
    run = Sources(out, artefacts)
    keys = patient_keys(run.artefacts.tables)
    facts = find_facts(run)
    radiomic = any(body.radiomics is not None for body in run.experiment.feature_sets.values())
    filled = [
        _fill(checklist, facts, keys, applies=radiomic or not checklist.for_radiomics)
        for checklist in load_checklists()
    ]
    content: Part = cleaned({"checklists_version": VERSION, "experiment": run.experiment.name, "checklists": filled})
    return content


def verified_checklists(out: Path) -> tuple[Part, list[str]]:
    """The checklists of a run as ``checklists.json`` has them, each answer kept only while its files have their hash.

    Returns
    -------
    content, changed
        As :func:`build_checklists`; answers whose evidence is gone or changed need a person. ``changed`` names those
        files.

    Raises
    ------
    InputError
        If ``checklists.json`` is absent or not valid.
    """
    try:
        record = parse_config(
            Record, read_json(out / CHECKLISTS_JSON, what="the checklists of the run"), where=CHECKLISTS_JSON
        )
    except ConfigError:
        raise InputError(
            "the checklists of the run are not valid",
            where=CHECKLISTS_JSON,
            remedy="fill them in again: crlm checklists",
        ) from None
    named = {e.file: e.sha256 for filled in record.checklists for item in filled.items for e in item.evidence}
    changed = sorted(file for file, digest in named.items() if _digest(out, file) != digest)
    content = record.model_dump(mode="json")
    for filled in content["checklists"]:
        filled["items"] = [_doubted(item, changed) for item in filled["items"]]
        filled |= _totals(filled["items"], filled["unit"], applies=filled["applies"])
    return content, changed


def _digest(out: Path, file: str) -> str | None:
    """Hash of a file inside the run folder; None for anything else."""
    path = out / file
    if ".." in Path(file).parts or Path(file).is_absolute() or not path.is_file():
        return None
    return sha256_file(path)


def _doubted(item: Part, changed: Iterable[str]) -> Part:
    gone = sorted({e["file"] for e in item["evidence"]} & set(changed))
    if not gone:
        return item
    reason = f"the evidence has changed or is gone: {', '.join(gone)}"
    return item | {"answer": NEEDS_A_PERSON, "evidence": [], "left": reason, "proven": None}


def _fill(checklist: Checklist, facts: Mapping[str, Fact | None], keys: set[str], *, applies: bool) -> Part:
    items = [_answer(section, item, facts, keys, applies=applies) for section, item in checklist.rows()]
    head = checklist.model_dump(mode="json", include={"name", "title", "full", "doi", "version", "unit"})
    return head | {"applies": applies, "items": items} | _totals(items, checklist.unit, applies=applies)


def _answer(section: str, item: Item, facts: Mapping[str, Fact | None], keys: set[str], *, applies: bool) -> Part:
    fact = facts[item.proof] if item.proof and applies else None
    answer: Answer = NEEDS_A_PERSON if fact is None or (fact.state == "yes" and item.left) else fact.state
    evidence = [
        {"file": p.file, "sha256": p.sha256, "place": p.place, "shows": without_keys(p.shows, keys)}
        for p in (dict.fromkeys(fact.evidence) if fact else ())
    ]
    worth = {"yes": item.points, "no": item.least}.get(answer)
    return {
        "id": item.id,
        "section": section,
        "text": item.text,
        "answer": answer,
        "evidence": evidence,
        "left": item.left if answer == NEEDS_A_PERSON else "",
        "points": item.points,
        "least": item.least,
        "proven": worth,
    }


def _totals(items: list[Part], unit: str | None, *, applies: bool) -> Part:
    answers: tuple[Answer, ...] = ("yes", "no", "not_applicable", NEEDS_A_PERSON)
    counts = {a: sum(item["answer"] == a for item in items) for a in answers}
    partly = sum(item["answer"] == NEEDS_A_PERSON and bool(item["evidence"]) for item in items)
    points = None
    if unit is not None and applies:
        asked = [item for item in items if item["answer"] != "not_applicable"]
        proven = sum(item["proven"] for item in asked if item["proven"] is not None)
        still = [item for item in asked if item["proven"] is None]
        points = {
            "proven": round(proven, _DECIMALS),
            "lowest": round(proven + sum(item["least"] for item in still), _DECIMALS),
            "highest": round(proven + sum(item["points"] for item in still), _DECIMALS),
            "of": round(sum(item["points"] for item in asked), _DECIMALS),
        }
    return {"counts": counts, "partly": partly, "points": points}
