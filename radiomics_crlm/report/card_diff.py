"""What changed between two cards: numbers, inputs and hashes, matched by what they speak of and not by their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import read_json, write_json, write_text
from radiomics_crlm.report.page import environment
from radiomics_crlm.report.wording import NO_VALUE

Part = dict[str, Any]

DIFF_PAGE, DIFF_JSON = "card-diff.html", "card-diff.json"
_KINDS = {
    "Question, patients and inputs": (
        "title", "question", "cohort", "flow", "population", "outcomes", "predictors", "leak", "use", "cautions",
    ),
    "Results": (
        "verdicts", "answers", "sample_size", "performance", "external", "calibration", "horizons", "decisions",
        "thresholds",
        "subgroups", "reclassification", "courses", "instability", "uncertainty",
        "shift_policy", "explanations", "explained",
        "nomograms", "robustness", "standardisation",
        "scores", "limits", "notices",
    ),
    "Software, files and hashes": ("technical", "checklists"),
}  # fmt: skip
# Names of things, from the most to the least telling: a list item is known by those that it has.
_NAMES = ("endpoint", "arm", "model", "reference", "variable", "column", "score", "rule", "feature", "family", "head")
_WEAKER = ("title", "metric", "kind", "caption", "group", "known", "speaks", "id")
# Drawn, or said again in words that are compared.
_SKIPPED = frozenset(
    {
        "data", "dots", "histogram", "against", "sections", "kind", "estimate", "lower", "upper", "value", "difference",
        "difference_lower", "difference_upper", "p_value", "numbers", "conclusion", "predicted",
        "observed", "mean", "months", "ticks",
    }
)  # fmt: skip
# Keys that lead into a table without saying anything of it.
_SILENT = frozenset({"text", "blocks", "rows", "groups", "cells", "tables"})


@dataclass(frozen=True)
class _Place:
    """Where a value stands: the words that lead to it, and the heads of the columns of its table."""

    words: tuple[str, ...] = ()
    columns: Sequence[str] = field(default_factory=tuple)

    def into(self, *words: str) -> _Place:
        return _Place((*self.words, *words), self.columns)


def compare_cards(old: Mapping[str, Any], new: Mapping[str, Any]) -> Part:
    """Differences between two cards, as plain JSON.

    Parameters
    ----------
    old, new
        Contents of two ``card.json``.

    Returns
    -------
    dict
        ``old`` and ``new`` (names of the experiments), ``kinds``: for each kind of content its ``rows`` of ``part``,
        ``what``, ``old``, ``new`` (empty where one of the cards has no such entry) and ``same``, the entries alike.
    """
    kinds = []
    for title, keys in _KINDS.items():
        before, after = (dict(_leaves(card, keys)) for card in (old, new))
        places = list(dict.fromkeys([*before, *after]))
        rows = [
            {
                "part": place[0].replace("_", " "),
                "what": ", ".join(place[1:]),
                "old": before.get(place, ""),
                "new": after.get(place, ""),
            }
            for place in places
            if before.get(place) != after.get(place)
        ]
        kinds.append({"title": title, "rows": rows, "same": len(places) - len(rows)})
    versions = [card.get("card_version") for card in (old, new)]
    return {
        "old": str(old.get("name", "")),
        "new": str(new.get("name", "")),
        "layout_differs": versions[0] != versions[1],
        "kinds": kinds,
    }


def _leaves(card: Mapping[str, Any], keys: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """All values of parts of a card, each with the words that lead to it."""
    seen: dict[tuple[str, ...], int] = {}
    for key in keys:
        for place, value in _walk(card.get(key), _Place((key,))):
            seen[place] = seen.get(place, 0) + 1
            yield (place if seen[place] == 1 else (*place, str(seen[place])), value)


def _walk(value: Any, place: _Place) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        here = _Place(place.words, _heads(value["columns"])) if _has_heads(value) else place
        for key, inner in value.items():
            if not _skipped(key, value):
                yield from _walk(inner, here if key in _SILENT else here.into(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, inner in enumerate(value):
            yield from _walk(inner, place.into(*_name(inner, number, place)))
    elif value is not None:
        yield place.words, str(value)


def _has_heads(value: Mapping[str, Any]) -> bool:
    columns = value.get("columns")
    return isinstance(columns, Sequence) and bool(columns) and isinstance(columns[0], Mapping) and "title" in columns[0]


def _heads(columns: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Heads of columns; with their remark where two are alike."""
    titles = [str(c["title"]) for c in columns]
    traits = [str(c.get("trait") or "") for c in columns]
    return tuple(
        f"{title} ({trait})" if trait and titles.count(title) > 1 else title
        for title, trait in zip(titles, traits, strict=True)
    )


def _skipped(key: str, of: Mapping[str, Any]) -> bool:
    if "text" in of and "kind" not in of and not any(name in of for name in _NAMES):  # a cell: what it shows is enough
        return key != "text"
    return key in _SKIPPED or (key == "columns" and _has_heads(of))


def _name(item: Any, number: int, place: _Place) -> tuple[str, ...]:
    """Words for an item of a list: its names, or the column it stands in, or its place."""
    if not isinstance(item, Mapping):
        return (str(item),) if isinstance(item, str) and len(item) < 60 else (str(number + 1),)
    found = [str(item[key]) for key in _NAMES if isinstance(item.get(key), str) and item[key]]
    if not found and "text" in item and number < len(place.columns):
        return (place.columns[number],)
    if not found:
        found = [str(item[key]) for key in _WEAKER if isinstance(item.get(key), str | int) and item[key] != ""][:1]
    return tuple(found) or (str(number + 1),)


def write_diff(out: Path, against: Path) -> tuple[Part, Path]:
    """Compare the card of a run with that of an earlier one; writes ``card-diff.json`` and ``card-diff.html``.

    Raises
    ------
    InputError
        If one of the folders has no card.
    """
    new, old = (_card(folder, which) for folder, which in ((out, "this run"), (against, "the earlier run")))
    diff = compare_cards(old, new)
    write_json(out / DIFF_JSON, diff)
    write_text(out / DIFF_PAGE, render_diff(diff))
    return diff, out / DIFF_PAGE


def _card(folder: Path, which: str) -> Mapping[str, Any]:
    path = folder / "card.json"
    if not path.is_file():
        raise InputError(f"{which} has no card", expected="a file card.json", remedy="write it with crlm card FOLDER")
    return read_json(path, what=f"the card of {which}")


def render_diff(diff: Mapping[str, Any]) -> str:
    """The differences as one HTML page without script or request."""
    return environment().get_template("card_diff.html.j2").render(diff=diff, nothing=NO_VALUE)
