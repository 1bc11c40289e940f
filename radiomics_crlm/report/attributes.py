"""Where the card answers what others ask of one: the source attributes of HTI-1 and the CHAI Applied Model Card.

An attribute is never called fulfilled: the card names the section that speaks of it, or says that a person must.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.config import Strict, parse_config, read_yaml
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, cell, column, group, paragraph, row, section, table
from radiomics_crlm.resources import resource

NEEDS_A_PERSON = "needs a person"
_FILE = "report/data/source_attributes.yaml"


class Attribute(Strict):
    """What is asked, the element of the CHAI card that asks the same, and the sections that speak of it."""

    title: str
    chai: str
    sections: tuple[str, ...]


class Category(Strict):
    """Attributes of one kind."""

    category: str
    attributes: tuple[Attribute, ...]


def load_attributes() -> tuple[Category, ...]:
    """Read the attributes that the package ships.

    Examples
    --------
    >>> sum(len(category.attributes) for category in load_attributes())
    31
    """
    return tuple(parse_config(Category, body, where=_FILE) for body in read_yaml(resource(_FILE)))


def attributes(_: Artefacts, card: Part) -> Part:
    """A table of all attributes; needs the sections that come before it."""
    shown = {s["id"]: (s["short"], any(_speaks(card[key]) for key in s["parts"])) for s in card["sections"]}
    groups, answered, total = [], 0, 0
    for category in load_attributes():
        lines = []
        for attribute in category.attributes:
            where = [shown[name] for name in attribute.sections]
            spoken = [short for short, speaks in where if speaks]
            silent = [short for short, speaks in where if not speaks]
            text = "; ".join(spoken) or (f"not available: {'; '.join(silent)}" if silent else NEEDS_A_PERSON)
            lines.append(row(attribute.title, [cell(attribute.chai), cell(text)]))
            answered, total = answered + bool(spoken), total + 1
        groups.append(group(lines, category.category))
    return section(
        [
            paragraph(
                f"Sections of this card speak of {answered} of {total} source attributes that the United States ask of "
                "predictive decision support (HTI-1); the rest only a person can answer. This is a map, no certificate."
            ),
            table(
                "Source attributes, the element of the CHAI Applied Model Card that asks the same, and where to look",
                "Source attribute",
                [column("CHAI element", words=True), column("Section of this card", words=True)],
                groups,
                note="45 CFR 170.315(b)(11)(iv)(B); CHAI Applied Model Card, schema v0.1.",
                fold=f"All {total} source attributes",
            ),
        ]
    )


def _speaks(part: Any) -> bool:
    """Whether a part of the card has content.

    >>> _speaks({"blocks": [{"kind": "heading"}, {"kind": "absent"}]}), _speaks([{"absent": "no"}, {"rows": []}])
    (False, True)
    """
    if isinstance(part, Mapping):
        if "blocks" in part:
            return any(block["kind"] not in ("heading", "absent", "caution") for block in part["blocks"])
        return "absent" not in part
    return any(_speaks(item) for item in part) if isinstance(part, list) else bool(part)
