"""Where the card answers what others ask of one: the source attributes of HTI-1 and the CHAI Applied Model Card.

An attribute is never called fulfilled: the card names the section that speaks of it, or says that a person must.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from radiomics_crlm.config import Strict, parse_config
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, cell, column, group, paragraph, row, section, table
from radiomics_crlm.resources import shipped_yaml

NEEDS_A_PERSON = "needs a person"
_FILE = "report/data/source_attributes.yaml"


class Attribute(Strict):
    """What is asked, the element of the CHAI card that asks the same, the sections that speak of it, and what is
    ``left`` for a person all the same.
    """

    title: str
    chai: str
    sections: tuple[str, ...]
    left: str = ""


class Category(Strict):
    """Attributes of one kind: source attributes of HTI-1, or elements that only the CHAI card has."""

    category: str
    source: Literal["hti", "chai"] = "hti"
    attributes: tuple[Attribute, ...]


def load_attributes() -> tuple[Category, ...]:
    """Read the attributes that the package ships.

    Examples
    --------
    >>> sum(len(category.attributes) for category in load_attributes() if category.source == "hti")
    31
    """
    return tuple(parse_config(Category, body, where=_FILE) for body in shipped_yaml(_FILE))


def attributes(_: Artefacts, card: Part) -> Part:
    """A table of all attributes; needs the sections that come before it."""
    shown = {s["id"]: (s["short"], any(_speaks(card[key]) for key in s["parts"])) for s in card["sections"]}
    groups, answered, total = [], Counter[str](), Counter[str]()
    for category in load_attributes():
        lines = []
        for attribute in category.attributes:
            text, spoken = _where(attribute, shown)
            lines.append(row(attribute.title, [cell(attribute.chai), cell(text)]))
            answered[category.source] += spoken
            total[category.source] += 1
        groups.append(group(lines, category.category))
    return section(
        [
            paragraph(
                f"Sections of this card speak of {answered['hti']} of {total['hti']} source attributes that the United "
                f"States ask of predictive decision support (HTI-1), and of {answered['chai']} of {total['chai']} "
                "further elements of the CHAI Applied Model Card; the rest only a person can answer. This is a map, no "
                "certificate."
            ),
            table(
                "Source attributes, the element of the CHAI Applied Model Card that asks the same, and where to look",
                "Source attribute",
                [column("CHAI element", words=True), column("Section of this card", words=True)],
                groups,
                note="45 CFR 170.315(b)(11)(iv)(B); CHAI Applied Model Card, schema v0.1.",
                fold=f"All {total['hti']} source attributes and {total['chai']} further elements",
            ),
        ]
    )


def _where(attribute: Attribute, shown: Mapping[str, tuple[str, bool]]) -> tuple[str, bool]:
    """Where the card speaks of an attribute, in words, and whether it does."""
    where = [shown[name] for name in attribute.sections]
    spoken = [short for short, speaks in where if speaks]
    if not spoken:
        silent = [short for short, _ in where]
        return (f"not available: {'; '.join(silent)}" if silent else NEEDS_A_PERSON), False
    left = f"; {attribute.left} {NEEDS_A_PERSON}" if attribute.left else ""
    return "; ".join(spoken) + left, True


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
