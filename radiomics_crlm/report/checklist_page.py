"""The checklists on the card: how many items files of the run prove, and where to read all of them."""

from __future__ import annotations

from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, cell, column, group, links, paragraph, row, section, table
from radiomics_crlm.report.checklists import CHECKLISTS_JSON, build_checklists, verified_checklists
from radiomics_crlm.report.checklists.documents import CHECKLISTS_PAGE, points_text

_FILES = {CHECKLISTS_PAGE: "all items with their evidence", "checklists.csv": "as CSV", "checklists.md": "as Markdown"}


def checklists(artefacts: Artefacts, _: Part) -> Part:
    """A table of the checklists; answers whose files have changed since they were filled in need a person."""
    folder, changed = artefacts.folder, list[str]()
    if folder is None:
        return section([absent("Checklists", "the folder of the run is not known")])
    if (folder / CHECKLISTS_JSON).is_file():
        content, changed = verified_checklists(folder)
    else:
        content = build_checklists(folder, artefacts)
    blocks = [
        paragraph(
            "Reporting guidelines and quality scores, filled in by machine where a file and its SHA-256 prove "
            "an item. The rest needs a person; a score is given as the range that is still open."
        ),
        table(
            "Answers of the machine",
            "Checklist",
            [
                column("Yes"), column("No"), column("Not applicable"),
                column("Needs a person", "of these, partly in the run"), column("Points", words=True),
            ],
            [group([_row(filled) for filled in content["checklists"]])],
            note="PROBAST+AI: a yes answers a signalling question; the judgement of a domain is a person's.",
        ),
        links(_FILES),
    ]  # fmt: skip
    if changed:
        reason = (
            f"changed since the checklists were filled in, so what they proved needs a person: {', '.join(changed)}"
        )
        blocks.insert(1, absent("Evidence", reason))
    return section(blocks)


def _row(filled: dict[str, Any]) -> Part:
    counts = filled["counts"]
    cells = [cell(counts[a], value=counts[a]) for a in ("yes", "no", "not_applicable")]
    person = cell(f"{counts['needs_a_person']} ({filled['partly']})", value=counts["needs_a_person"])
    worth = points_text(filled) or ("–" if filled["applies"] else "does not apply: no radiomics")
    return row(filled["title"], [*cells, person, cell(worth)], under=f"{filled['full']}, doi:{filled['doi']}")
