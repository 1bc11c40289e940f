"""What a mask object says about itself: its segments, and the study, space and series that it was drawn on."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import PARSER_ERRORS, text_of
from radiomics_crlm.imaging.geometry import Volume

_WILD = frozenset("*?[")
_MAX_LISTED = 40
_MAX_LABEL = 64
# Anyone may be named in the label of a segment; these words name nobody.
_NAMING_NOBODY = """
    a ablated ablation all anatomy aorta artery b background bile biliary body bowel burden c cava cavity colon core
    crlm ct ctv cyst cysts d disease duct ducts e f fat future g gallbladder gastric gross gtv h heart hepatic hepatis
    hilum i ii iii iv ivc kidney l largest left lesion lesions liver lobe lung main mass mask met metastases metastasis
    mets middle mr mri muscle n nodule normal not of organ outline pancreas parenchyma part portal primary ptv r rectum
    region remnant resection resected rest right rim ring roi s satellite sct segment segmentation segments seg skin
    small spleen stomach structure t target test the thrombus total tumor tumors tumour tumours v vascular vein veins
    vena vessel vessels vi vii viii volume volumes whole zone
    ai auto automatic copy corrected draft edited expert final first manual new old reader second third version"""
_WORDS = frozenset(_NAMING_NOBODY.split())
# More digits than the number of a lesion has: a date or a key.
_MANY_DIGITS = re.compile(r"\d(?:\W|_)?\d(?:\W|_)?\d")


@dataclass(frozen=True)
class Segment:
    """One segment of a SEG object, or one region (ROI) of an RTSTRUCT."""

    number: int
    label: str


@dataclass(frozen=True)
class MaskSource:
    """The acquisition that a mask belongs to; empty where the object does not say."""

    patient: str
    study: str
    frame_of_reference: str
    referenced_series: frozenset[str]


def reference_of(dataset: pydicom.Dataset) -> MaskSource:
    """Study, frame of reference and referenced series of a SEG or RTSTRUCT object."""
    series: set[str] = set()
    frames = {text_of(dataset, "FrameOfReferenceUID")} - {""}
    try:
        series |= {text_of(item, "SeriesInstanceUID") for item in dataset.get("ReferencedSeriesSequence") or []}
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
            frames |= {text_of(frame, "FrameOfReferenceUID")} - {""}
            for study in frame.get("RTReferencedStudySequence") or []:
                for item in study.get("RTReferencedSeriesSequence") or []:
                    series.add(text_of(item, "SeriesInstanceUID"))
    except PARSER_ERRORS:
        series.clear()
    frame_of_reference = next(iter(frames)) if len(frames) == 1 else ""
    return MaskSource(
        text_of(dataset, "PatientID"),
        text_of(dataset, "StudyInstanceUID"),
        frame_of_reference,
        frozenset(series - {""}),
    )


def check_reference(source: MaskSource, image: Volume, *, case: str) -> tuple[str, ...]:
    """Make sure that a mask was drawn on the study and in the space of the image.

    An image without a DICOM source (NIfTI, NRRD) is judged by its geometry alone.

    Returns
    -------
    tuple of str
        ``("mask_references_other_series",)`` where study and space agree and the series does not (a series that was
        exported again, or another phase of the same breath hold), else ``()``.

    Raises
    ------
    CaseError
        ``other_patient``, ``other_study``, ``other_frame_of_reference``.
    """
    of = image.source
    if of is None:
        return ()
    for code, name, mine, other in (
        ("other_patient", "patient", source.patient, of.patient),
        ("other_study", "study", source.study, of.study),
        ("other_frame_of_reference", "frame of reference", source.frame_of_reference, of.frame_of_reference),
    ):
        if mine and other and mine != other:
            raise CaseError(
                code,
                f"the mask belongs to another {name} than the image",
                where=case,
                expected=f"the {name} of the image",
                remedy="pair the mask with the image that it was drawn on",
            )
    if source.referenced_series and of.series not in source.referenced_series:
        return ("mask_references_other_series",)
    return ()


def match_segments(
    segments: Sequence[Segment], wanted: Sequence[int | str] | None, *, case: str, role: str
) -> list[Segment]:
    """Segments that a role names, in the order of their numbers.

    Parameters
    ----------
    segments
        What the object holds.
    wanted
        Numbers, names, or names with the wildcards of the shell (``Tumor_*``), upper or lower case; None: all.

    Raises
    ------
    CaseError
        ``unknown_segment`` if a number or name fits nothing, ``ambiguous_segment`` if a name without wildcard fits
        several; both list what the object holds (:func:`listed`).
    """
    if wanted is None:
        return sorted(segments, key=lambda s: s.number)
    found: dict[int, Segment] = {}
    for name in wanted:
        hits = [s for s in segments if _fits(s, name)]
        several = len(hits) > 1 and isinstance(name, str) and not _WILD & set(name)
        if not hits or several:
            raise CaseError(
                "ambiguous_segment" if several else "unknown_segment",
                f"the role {role} names {'several segments at once' if several else 'a segment that is not there'}",
                where=case,
                expected="one of " + listed(segments),
                got=repr(name),
                remedy="name the segment by its number" if several else "",
            )
        found.update({s.number: s for s in hits})
    return [found[number] for number in sorted(found)]


def _fits(segment: Segment, name: int | str) -> bool:
    if isinstance(name, int):
        return segment.number == name
    return fnmatch.fnmatchcase(segment.label.strip().casefold(), name.casefold())


def listed(segments: Sequence[Segment]) -> str:
    """Numbers and labels of segments, for a message; a label is free text, and shown only in the words of anatomy.

    >>> listed([Segment(1, "Tumor_1"), Segment(2, "Doe liver")])
    "1 'Tumor_1', 2 (a name that is not shown)"
    """
    texts = [f"{s.number} {_shown(s.label)}" for s in segments[:_MAX_LISTED]]
    more = [f"{len(segments) - _MAX_LISTED} more"] if len(segments) > _MAX_LISTED else []
    return ", ".join([*texts, *more]) or "no segment"


def _shown(label: str) -> str:
    words = re.findall(r"[^\W\d_]+", label.casefold())
    if len(label) > _MAX_LABEL or not label.isprintable() or not set(words) <= _WORDS or _MANY_DIGITS.search(label):
        return "(a name that is not shown)"
    return repr(label)
