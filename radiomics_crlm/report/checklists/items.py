"""The checklists that the package ships: their items in our words, and the fact that may prove each."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from radiomics_crlm.config import Strict, parse_config
from radiomics_crlm.resources import shipped_yaml

NAMES = ("tripod_ai", "clear", "metrics", "probast_ai", "rqs")


class Item(Strict):
    """What is asked; ``proof`` names a fact, ``left`` what no file of a run can say, ``points`` what it is worth."""

    id: str
    text: str
    proof: str | None = None
    left: str = ""
    points: float = 0
    least: float = Field(default=0, le=0, description="points where the answer is no")


class Section(Strict):
    """Items of one part of a checklist."""

    section: str
    items: tuple[Item, ...] = Field(min_length=1)


class Checklist(Strict):
    """A published checklist; ``unit`` is what its items are worth, if anything."""

    name: str
    title: str
    full: str
    doi: str
    version: str
    for_radiomics: bool = False
    unit: Literal["weight", "points"] | None = None
    sections: tuple[Section, ...] = Field(min_length=1)

    def rows(self) -> Iterator[tuple[str, Item]]:
        """All items, each with the title of its section."""
        for part in self.sections:
            for item in part.items:
                yield part.section, item


@functools.cache
def load_checklists() -> tuple[Checklist, ...]:
    """Read the checklists that the package ships.

    Examples
    --------
    >>> {c.title: len(list(c.rows())) for c in load_checklists()}
    {'TRIPOD+AI': 52, 'CLEAR': 58, 'METRICS': 30, 'PROBAST+AI': 34, 'RQS': 16}
    >>> metrics, rqs = (c for c in load_checklists() if c.unit)
    >>> round(sum(item.points for _, item in metrics.rows()), 4)
    1.0
    >>> sum(item.points for _, item in rqs.rows()), sum(item.least for _, item in rqs.rows())
    (36.0, -8.0)
    """
    found = []
    for name in NAMES:
        file = f"report/data/checklists/{name}.yaml"
        found.append(parse_config(Checklist, shipped_yaml(file), where=file))
    return tuple(found)
