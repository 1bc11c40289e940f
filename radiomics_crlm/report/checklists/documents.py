"""The checklists as files: JSON (the record), a page, and CSV and Markdown for the supplement of a manuscript."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from radiomics_crlm.provenance.files import write_json, write_text
from radiomics_crlm.report import markdown
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.checklists.filled import CHECKLISTS_JSON, build_checklists, verified_checklists
from radiomics_crlm.report.page import environment
from radiomics_crlm.report.wording import fixed

Part = Mapping[str, Any]

CHECKLISTS_PAGE = "checklists.html"
ANSWERS = {"yes": "Yes", "no": "No", "not_applicable": "Not applicable", "needs_a_person": "Needs a person"}
_COLUMNS = ("checklist", "item", "section", "asks", "answer", "evidence", "files", "left for a person")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DECIMALS = {"weight": 3, "points": 0}


def write_checklists(out: Path, artefacts: Artefacts | None = None, *, anew: bool = True) -> list[str]:
    """Write ``checklists.json``, ``.html``, ``.csv`` and ``.md`` into a run folder, each atomically.

    Parameters
    ----------
    out
        Run folder.
    artefacts
        What was read from it already.
    anew
        Fill in all items from the files as they are now. Otherwise the record stays as it is, and the documents show
        its answers only where the files still have their hash; without a record it is made.

    Returns
    -------
    list of str
        Files that have changed since the record was made; answers that rest on them need a person.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` or the record is absent where it is needed, or not valid.
    """
    changed: list[str] = []
    if anew or not (out / CHECKLISTS_JSON).is_file():
        content = build_checklists(out, artefacts)
        write_json(out / CHECKLISTS_JSON, content)
    else:
        content, changed = verified_checklists(out)
    write_text(out / CHECKLISTS_PAGE, render_checklists(content))
    write_text(out / "checklists.csv", checklists_csv(content))
    write_text(out / "checklists.md", checklists_markdown(content))
    return changed


def render_checklists(content: Part) -> str:
    """The checklists as one HTML page without script or request; every cell names its place in ``checklists.json``."""
    files = {e["file"]: e["sha256"] for filled in content["checklists"] for i in filled["items"] for e in i["evidence"]}
    template = environment().get_template("checklists.html.j2")
    return template.render(
        content=content, answers=ANSWERS, files=dict(sorted(files.items())), points_text=points_text, runs=_runs
    )


def checklists_csv(content: Part) -> str:
    """One line per item; no cell starts like a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for filled in content["checklists"]:
        for item in filled["items"]:
            evidence = "; ".join(f"{e['file']} {e['place']}: {e['shows']}" for e in item["evidence"])
            files = "; ".join(f"{e['file']} {e['sha256']}" for e in item["evidence"])
            cells = [filled["title"], item["id"], item["section"], item["text"], ANSWERS[item["answer"]]]
            writer.writerow([_plain(cell) for cell in (*cells, evidence, files, item["left"])])
    return buffer.getvalue()


def checklists_markdown(content: Part) -> str:
    """The checklists as Markdown tables."""
    return markdown.page(_sections(content))


def points_text(filled: Part) -> str:
    """What a checklist is worth, as a range; empty if it gives no points.

    >>> points_text({"unit": "points", "points": {"proven": 11.0, "lowest": 6.0, "highest": 36.0, "of": 36.0}})
    '11 of 36 points proven; between 6 and 36 once a person has answered the rest'
    """
    points = filled["points"]
    if points is None:
        return ""
    places = _DECIMALS[filled["unit"]]
    proven, lowest, highest, of = (fixed(points[key], places) for key in ("proven", "lowest", "highest", "of"))
    unit = "points" if filled["unit"] == "points" else "weight"
    return f"{proven} of {of} {unit} proven; between {lowest} and {highest} once a person has answered the rest"


def _sections(content: Part) -> Iterator[str]:
    yield f"# Checklists of {markdown.words(content['experiment'])}"
    yield (
        "Filled in by machine where a file of the run proves an item; the SHA-256 of every file is in "
        f"{markdown.code(CHECKLISTS_JSON)}. Everything else needs a person: read, answer and sign."
    )
    for filled in content["checklists"]:
        yield f"## {markdown.words(filled['title'])}"
        yield f"{markdown.words(filled['full'])}, doi:{filled['doi']}. {markdown.words(points_text(filled))}".rstrip()
        if not filled["applies"]:
            yield "The experiment has no radiomics: this checklist does not apply."
            continue
        yield markdown.table(["Item", "Asks", "Answer", "Evidence", "For a person"], map(_row, filled["items"]))


def _row(item: Part) -> Sequence[str]:
    evidence = "<br>".join(
        f"{markdown.code(e['file'])} {markdown.code(e['place'])}: {markdown.words(e['shows'])}"
        for e in item["evidence"]
    )
    return [
        markdown.words(item["id"]), markdown.words(item["text"]), ANSWERS[item["answer"]], evidence,
        markdown.words(item["left"]),
    ]  # fmt: skip


def _runs(items: Sequence[Part]) -> list[tuple[str, list[tuple[int, Part]]]]:
    """Items by section, each with its place in the list."""
    found: list[tuple[str, list[tuple[int, Part]]]] = []
    for place, item in enumerate(items):
        if not found or found[-1][0] != item["section"]:
            found.append((item["section"], []))
        found[-1][1].append((place, item))
    return found


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
