"""A page over many runs: what each asked, what it found, whether its model was accepted, and where its card is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.provenance.files import read_json, write_json, write_text
from radiomics_crlm.report import participants
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts, patient_keys, without_keys
from radiomics_crlm.report.page import environment
from radiomics_crlm.report.performance import metric_row, primary_metric
from radiomics_crlm.report.verdicts import shown_model, verdict
from radiomics_crlm.report.wording import METRIC_TITLES, cleaned, interval

Part = dict[str, Any]

_RECORD, _UNFINISHED = "run.json", ".unfinished"
_PAGES = {
    "card.html": "Model card",
    "card.pdf": "Model card as PDF",
    "report/README.md": "Report",
    "checklists.html": "Checklists",
}


def write_index(folders: Iterable[Path], page: Path) -> Part:
    """Write a page over all runs below some folders, and its content as JSON beside it, each atomically.

    Parameters
    ----------
    folders
        Searched with all that is below them; links are not followed.
    page
        HTML file to write; the JSON has its name with ``.json``. Links to cards are relative to it.

    Returns
    -------
    dict
        What the page shows: ``runs``, each with its ``endpoints`` or with the reason in ``damaged``, and counts.

    Raises
    ------
    InputError
        If a folder does not exist, or ``page`` is no HTML file.
    """
    if page.suffix.lower() != ".html":
        raise InputError("the index is a page", expected="a file that ends in .html", got=page.name)
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise InputError("there is no such folder", where=folder.name, remedy="check the path")
    content = build_index(folders, page.parent)
    write_json(page.with_suffix(".json"), content)
    write_text(page, render_index(content))
    return content


def build_index(folders: Iterable[Path], base: Path) -> Part:
    """Content of the index as plain JSON; a run that cannot be read is there with the reason.

    No patient key and no absolute path is in it; ``base`` is the folder that links start from.
    """
    found = {os.path.relpath(run.resolve(), base.resolve()): run for folder in folders for run in find_runs(folder)}
    runs = [_run(path, found[path]) for path in sorted(found)]
    damaged = sum(bool(run["damaged"]) for run in runs)
    content: Part = cleaned({"runs": runs, "found": len(runs), "damaged": damaged})
    return content


def find_runs(folder: Path) -> Iterator[Path]:
    """Run folders at or below a folder: those with ``run.json``, or with the remains of a run that was stopped."""
    for place, names, files in os.walk(folder):
        if _RECORD in files or _UNFINISHED in names:
            yield Path(place)
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith("."))


def render_index(content: Mapping[str, Any]) -> str:
    """The index as one HTML page without script or request; every cell names its place in the JSON beside it."""
    return environment().get_template("index.html.j2").render(content=content)


def _run(path: str, run: Path) -> Part:
    head: Part = {"folder": Path(path).name or path, "title": "", "links": _links(path, run), "damaged": ""}
    if not (run / _RECORD).is_file():
        return head | {"damaged": "the run was stopped; the same command goes on with it"}
    try:
        return head | _content(run)
    except CrlmError as error:
        return head | {"damaged": ": ".join(filter(None, (error.what, error.where)))}
    except (AttributeError, KeyError, TypeError, ValueError):
        return head | {"damaged": "the record of the run has another shape than expected"}


def _links(path: str, run: Path) -> list[Part]:
    return [
        {"text": text, "href": quote(Path(path, page).as_posix())}
        for page, text in _PAGES.items()
        if (run / page).is_file()
    ]


def _content(run: Path) -> Part:
    artefacts = load_artefacts(run)
    keys = patient_keys(artefacts.tables)
    leak = participants.leak(artefacts)
    accepted = _acceptance(run)
    cohort = artefacts.part("cohort")
    notes = ["simulated patients"] if cohort.get("simulated") else []
    notes += [] if artefacts.experiment.performance_claim else ["no performance claim"]
    notes += ["LEAK"] if leak["allowed"] and leak["admitted"] else []
    return {
        "name": artefacts.experiment.name,
        "title": without_keys(artefacts.experiment.title, keys),
        "question": without_keys(artefacts.experiment.question, keys),
        "cohort": without_keys(cohort.get("name") or "not named", keys),
        "notes": notes,
        "endpoints": [_endpoint(artefacts, name, leak, accepted) for name in artefacts.endpoints],
    }


def _acceptance(run: Path) -> Mapping[str, Any] | None:
    try:
        return read_json(run / "acceptance.json", what="the acceptance of the run")
    except InputError:
        return None


def _endpoint(artefacts: Artefacts, name: str, leak: Part, accepted: Mapping[str, Any] | None) -> Part:
    config, model = artefacts.endpoints[name], shown_model(artefacts, name)
    metric = primary_metric(config)
    said = verdict(artefacts, name, leaked=leak["allowed"] and name in leak["endpoints"])
    row = metric_row(artefacts, name, model, metric) if model else None
    row = row if row and row["estimate"] is not None else None
    return {
        "endpoint": name,
        "title": config.title,
        "model": artefacts.model_title(model) if model else "none",
        "n": row["n"] if row else None,
        "events": row["events"] if row else None,
        "metric": METRIC_TITLES[metric],
        "estimate": interval(row["estimate"], row["lower"], row["upper"]) if row else "not computable",
        "verdict": said.get("headline") or said.get("absent", "no verdict"),
        "accepted": _accepted(name, accepted),
    }


def _accepted(name: str, accepted: Mapping[str, Any] | None) -> str:
    if accepted is None:
        return "not judged"
    judged = accepted.get(name)
    if judged is None:
        return "no criteria declared"
    return "accepted" if judged["accepted"] else f"not accepted: {judged['reason']}"
