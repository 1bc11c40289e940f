"""Which series of a folder is meant: a rule of the manifest, or the series that the mask was drawn on."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import PARSER_ERRORS, text_of

Header = tuple[Path, pydicom.FileDataset]
_KEYWORDS = {"number": "SeriesNumber", "uid": "SeriesInstanceUID", "description": "SeriesDescription"}
_SPACINGS = (("PixelSpacing", 0), ("PixelSpacing", 1), ("SliceThickness", -1))
_MAX_LISTED = 10


@dataclass(frozen=True)
class SeriesChoice:
    """What decides between several series of a folder.

    Parameters
    ----------
    rule
        Cell ``series`` of the imaging manifest: conditions ``number=3``, ``uid=1.2.3`` or ``description=*portal*``
        (a shell pattern, upper or lower case), several joined by ``;``. Empty: no rule.
    referenced
        Series that the masks of the scan refer to; they decide where the rule leaves more than one.
    """

    rule: str = ""
    referenced: frozenset[str] = frozenset()


def choose_series(headers: Sequence[Header], choice: SeriesChoice, *, case: str) -> list[Header]:
    """The headers of the one series that is meant, all of one patient.

    Raises
    ------
    CaseError
        ``mixed_patients``, ``bad_series_rule``; ``no_such_series`` and ``ambiguous_series``, with a list of the
        candidates (number, modality, slices, spacing; no description, which is free text).
    """
    if len({text_of(header, "PatientID") for _, header in headers}) > 1:
        raise CaseError("mixed_patients", "the images of the folder name more than one patient", where=case)
    series: dict[str, list[Header]] = {}
    for path, header in headers:
        series.setdefault(text_of(header, "SeriesInstanceUID"), []).append((path, header))
    conditions = _conditions(choice.rule, case)
    kept = {uid: group for uid, group in series.items() if _fits(group[0][1], conditions)}
    if not kept:
        raise CaseError(
            "no_such_series",
            "no series of the folder fits the rule of the manifest",
            where=case,
            expected=choice.rule,
            got=_candidates(series.values()),
        )
    if len(kept) > 1 and choice.referenced & set(kept):
        kept = {uid: group for uid, group in kept.items() if uid in choice.referenced}
    if len(kept) > 1:
        raise CaseError(
            "ambiguous_series",
            "the folder holds more than one image series",
            where=case,
            expected="one series",
            got=f"{len(kept)} series: {_candidates(kept.values())}",
            remedy="say which in the column series, e.g. number=3, or keep each series in a folder of its own",
        )
    return next(iter(kept.values()))


def _conditions(rule: str, case: str) -> list[tuple[str, str]]:
    found = []
    for part in filter(None, (piece.strip() for piece in rule.split(";"))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in _KEYWORDS or not value:
            raise CaseError(
                "bad_series_rule",
                "the rule that chooses a series cannot be parsed",
                where=case,
                expected="number=3, uid=1.2.3 or description=*portal*, joined by ;",
            )
        found.append((name, value))
    return found


def _fits(header: pydicom.Dataset, conditions: Sequence[tuple[str, str]]) -> bool:
    for name, value in conditions:
        text = text_of(header, _KEYWORDS[name])
        if name == "description":
            if not fnmatch.fnmatchcase(text.casefold(), value.casefold()):
                return False
        elif text != value:
            return False
    return True


def _candidates(groups: Iterable[Sequence[Header]]) -> str:
    """Facts of the series, without free text."""
    lines = sorted(_facts(group) for group in groups)
    more = f" and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
    return ", ".join(lines[:_MAX_LISTED]) + more


def _facts(group: Sequence[Header]) -> str:
    header = group[0][1]
    number = text_of(header, "SeriesNumber")
    modality = text_of(header, "Modality")
    rows_mm, columns_mm, thickness = (_millimetres(header, *place) for place in _SPACINGS)
    count = f"{len(group)} slice" + ("s" if len(group) != 1 else "")
    name = f"number {number}" if number.isdecimal() else "without a number"
    kind = modality if modality in ("CT", "MR") else "image"
    return f"{name} ({kind}, {count}, {columns_mm} x {rows_mm} x {thickness} mm)"


def _millimetres(header: pydicom.Dataset, keyword: str, position: int) -> str:
    try:
        value = header.get(keyword)
        return f"{float(value if position < 0 else value[position]):.4g}"
    except PARSER_ERRORS:
        return "?"
