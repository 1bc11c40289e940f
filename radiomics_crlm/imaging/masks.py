"""The masks of a scan, whatever they come in: a label image, a DICOM segmentation or an RT structure set.

A row of the imaging manifest names a file (or a folder that holds one mask) and the roles of what is in it. Here both
become lesions (one label each) and anatomy (one boolean array per role) on the grid of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.dicom_file import open_dicom, quiet_parser, text_of
from radiomics_crlm.imaging.geometry import Volume, check_same_geometry, same_grid_offset
from radiomics_crlm.imaging.mask_source import check_reference, listed, match_segments, reference_of
from radiomics_crlm.imaging.regions import (
    COMPONENTS,
    MAX_LABELS,
    NO_LESION,
    ROLES,
    as_label_mask,
    keep_labels,
    labels_of,
)
from radiomics_crlm.imaging.rings import split_components
from radiomics_crlm.imaging.rtstruct import STRUCTURE_SET_CLASS, StructureSet, open_structure_set
from radiomics_crlm.imaging.segmentation import SEGMENTATION_CLASSES, Segmentation, open_segmentation
from radiomics_crlm.imaging.series_choice import SeriesChoice
from radiomics_crlm.imaging.volume import FORMATS, read_volume

_DICOM_MASKS = (*SEGMENTATION_CLASSES, STRUCTURE_SET_CLASS)
# Nobody marks lesions by less than this; larger misfits are reported, smaller ones are digits of decimal strings.
_REPORTED_OFFSET_VOXELS = 1e-4
_ANY_NUMBER = re.compile(r"[-+.\d]+")


@dataclass(frozen=True)
class RoleRule:
    """What plays a role: numbers and names (shell patterns) of labels or segments; None stands for all of them.

    ``components``: the connected parts of what is named are the lesions. No label at all means that the manifest says
    ``lesion=none``: the scan shows no lesion.
    """

    labels: tuple[int | str, ...] | None
    components: bool = False


@dataclass(frozen=True)
class MaskSet:
    """What one mask file says, on the grid of the image.

    Parameters
    ----------
    lesions
        Labels 1, 2, ... of the lesions (label, segment or ROI numbers; voxels of several lesions belong to the
        smallest of them), or None without a role ``lesion``.
    anatomy
        Role to boolean array ``(z, y, x)``.
    lesion_flags, anatomy_flags
        ``mask_header_repaired``, ``mask_references_other_series``, ``label_absent:role=label``,
        ``lesions_overlap:voxels``, ``lesion_hidden:label``.
    offset_mm, offset_voxels
        Largest misfit of the mask to the grid of the image that was accepted.
    """

    lesions: Volume | None
    anatomy: dict[str, np.ndarray]
    lesion_flags: tuple[str, ...] = ()
    anatomy_flags: tuple[str, ...] = ()
    offset_mm: float = 0.0
    offset_voxels: float = 0.0


@dataclass
class _Absent:
    """Labels and segments that a role names and the mask lacks."""

    of_lesions: list[str] = field(default_factory=list)
    of_anatomy: list[str] = field(default_factory=list)

    def add(self, role: str, numbers: Iterable[int]) -> None:
        notes = self.of_lesions if role == "lesion" else self.of_anatomy
        notes += [f"label_absent:{role}={n}" for n in numbers]


def parse_roles(text: str, *, case: str) -> dict[str, RoleRule]:
    """Parse a cell of ``imaging.mask_roles``.

    Examples
    --------
    >>> parse_roles("lesion=Tumor_*; liver=Liver,4", case="P1")["liver"].labels
    (4, 'Liver')
    >>> parse_roles("lesion=components:2", case="P1")["lesion"]
    RoleRule(labels=(2,), components=True)

    Raises
    ------
    CaseError
        ``bad_mask_roles`` for an unknown or repeated role, or a number that is no positive integer.
    """
    rules: dict[str, RoleRule] = {}
    for part in str(text).split(";"):
        role, _, named = (piece.strip() for piece in part.partition("="))
        components = role == "lesion" and named.partition(":")[0].strip() == COMPONENTS
        if components:
            named = named.partition(":")[2].strip() or "*"
        if role == "lesion" and named == NO_LESION and role not in rules:
            rules[role] = RoleRule(())
            continue
        pieces = [piece.strip() for piece in named.split(",")]
        if role not in ROLES or role in rules or not all(_is_label(p, alone=len(pieces) == 1) for p in pieces):
            raise CaseError(
                "bad_mask_roles",
                "the roles of a mask cannot be parsed",
                where=case,
                expected="e.g. lesion=*, lesion=Tumor_*;liver=Liver or liver=1,2;remnant=2 with roles "
                + ", ".join(ROLES),
            )
        numbers = sorted({int(p) for p in pieces if p.isdecimal()})
        names = [p for p in dict.fromkeys(pieces) if not p.isdecimal()]
        rules[role] = RoleRule(None if named == "*" else (*numbers, *names), components)
    return rules


def _is_label(piece: str, *, alone: bool) -> bool:
    if _ANY_NUMBER.fullmatch(piece):
        return piece.isascii() and piece.isdecimal() and int(piece) > 0
    return bool(piece) and piece.isprintable() and "=" not in piece and (alone or piece != "*")


def read_mask(path: Path, image: Volume, *, roles: str, case: str) -> MaskSet:
    """Read a mask and bring it onto the grid of its image.

    Parameters
    ----------
    path
        A label image (``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``), a SEG or an RTSTRUCT file, or a folder with exactly
        one of them (of several DICOM masks, the one that refers to the series of the image).
    image
        The image. A DICOM mask may lie on another grid of the same voxels (cropped, mirrored, other order of slices).
    roles
        Cell ``mask_roles``: label, segment or ROI numbers, or names and shell patterns of segments and ROIs.
    case
        Key of the case for messages.

    Raises
    ------
    CaseError
        Those of `parse_roles`, `read_volume`, `as_label_mask`, `check_same_geometry`, `open_segmentation`,
        `open_structure_set`, `check_reference` and `match_segments`; ``no_mask``, ``ambiguous_mask``, ``empty_mask``,
        ``no_lesion_label``, ``too_many_labels``.
    """
    rules = parse_roles(roles, case=case)
    path, kind = _the_mask(path, image, case)
    if kind == "labels":
        return _from_labels(path, image, rules, case)
    opener = open_structure_set if kind == STRUCTURE_SET_CLASS else open_segmentation
    return _from_segments(opener(path, case=case), image, rules, case)


def read_scan(image: Path, masks: Iterable[Path], *, rule: str, case: str) -> Volume:
    """Read the image of a scan; in a folder of several series, a rule or the DICOM masks decide which.

    Raises
    ------
    CaseError
        Those of `read_volume` and `choose_series`.
    """
    referenced: set[str] = set()
    if image.is_dir():
        for path in masks:
            referenced |= _referenced_series(path)
    return read_volume(image, case=case, choice=SeriesChoice(rule, frozenset(referenced)))


def _referenced_series(path: Path) -> set[str]:
    """Series that the DICOM masks at a path refer to; what is wrong with them is said when they are read."""
    found: set[str] = set()
    try:
        for candidate, kind in _candidates(path, ""):
            if kind != "labels":
                with quiet_parser():
                    dataset = open_dicom(candidate, case="")
                    found |= reference_of(dataset).referenced_series if dataset is not None else set()
    except CaseError:
        return set()
    return found


def _candidates(path: Path, case: str) -> list[tuple[Path, str]]:
    """Masks at a path: label images, and DICOM objects that are masks."""
    if path.is_file() and path.name.lower().endswith(FORMATS):
        return [(path, "labels")]
    if not path.exists():
        raise CaseError("missing_file", "the mask does not exist", where=case)
    found = []
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        if not each.is_file():
            continue
        if each.name.lower().endswith(FORMATS):
            found.append((each, "labels"))
            continue
        with quiet_parser():
            dataset = open_dicom(each, case=case)
            kind = "" if dataset is None else text_of(dataset, "SOPClassUID")
        if kind in _DICOM_MASKS:
            found.append((each, kind))
    return found


def _the_mask(path: Path, image: Volume, case: str) -> tuple[Path, str]:
    """The one mask at a path; of several DICOM masks, the one that refers to the series of the image."""
    found = _candidates(path, case)
    if len(found) > 1 and image.source is not None:
        drawn_here = [c for c in found if c[1] != "labels" and image.source.series in _referenced_series(c[0])]
        found = drawn_here if len(drawn_here) == 1 else found
    if len(found) == 1:
        return found[0]
    if not found:
        raise CaseError(
            "no_mask",
            "there is no mask here",
            where=case,
            expected="a label image (" + ", ".join(FORMATS) + "), a DICOM SEG or an RTSTRUCT",
        )
    raise CaseError(
        "ambiguous_mask",
        "the folder holds more than one mask",
        where=case,
        expected="one mask",
        got="; ".join(_described(candidate, kind, case) for candidate, kind in found),
        remedy="name the file in the manifest",
    )


def _described(path: Path, kind: str, case: str) -> str:
    """What a candidate is, for a message."""
    if kind == "labels":
        return "a label image"
    if kind == STRUCTURE_SET_CLASS:
        return f"an RTSTRUCT with {listed(open_structure_set(path, case=case).segments)}"
    return f"a SEG with {listed(open_segmentation(path, case=case).segments)}"


def _from_labels(path: Path, image: Volume, rules: Mapping[str, RoleRule], case: str) -> MaskSet:
    """Roles of a label image."""
    none_shown = rules.get("lesion") == RoleRule(())
    labels = as_label_mask(read_volume(path, case=case), case=case, may_be_empty=none_shown)
    mask, repaired = check_same_geometry(image, labels, case=case)
    lesions, anatomy, absent = None, {}, _Absent()
    for role, rule in rules.items():
        present, lacking = labels_of(mask, _numbers_only(rule, role, mask, case))
        absent.add(role, lacking)
        if role == "lesion":
            if not present and not none_shown:
                raise CaseError("no_lesion_label", "the mask holds none of the lesion labels", where=case)
            lesions = replace(keep_labels(mask, present), source=None)
        else:
            anatomy[role] = np.isin(mask.array, present)
    return MaskSet(
        _split(lesions, rules),
        anatomy,
        (*repaired, *absent.of_lesions),
        (*repaired, *absent.of_anatomy),
        *same_grid_offset(image, labels),
    )


def _numbers_only(rule: RoleRule, role: str, mask: Volume, case: str) -> tuple[int, ...] | None:
    """Labels of a rule; a label image knows no names."""
    names = [name for name in rule.labels or () if isinstance(name, str)]
    if names:
        raise CaseError(
            "unknown_segment",
            f"the role {role} names a segment, but a label image has numbers only",
            where=case,
            expected="one of " + ", ".join(map(str, labels_of(mask, None)[0])),
            got=repr(names[0]),
        )
    return None if rule.labels is None else tuple(n for n in rule.labels if isinstance(n, int))


def _from_segments(
    source: Segmentation | StructureSet, image: Volume, rules: Mapping[str, RoleRule], case: str
) -> MaskSet:
    """Roles of a SEG or RTSTRUCT object."""
    flags = list(check_reference(source.source, image, case=case))
    numbers = {
        role: [s.number for s in match_segments(source.segments, rule.labels, case=case, role=role)]
        for role, rule in rules.items()
        if rule.labels != ()
    }
    wanted = sorted({n for some in numbers.values() for n in some})
    masks, offset_mm, offset_voxels = source.masks(wanted, image, case=case)
    if offset_voxels > _REPORTED_OFFSET_VOXELS:
        flags.append("mask_header_repaired")
    sizes = {n: int(np.count_nonzero(mask)) for n, mask in masks.items()}
    if numbers and not any(sizes.values()):
        raise CaseError("empty_mask", "the mask holds no labelled voxel of its roles", where=case)
    absent = _Absent()
    for role, some in numbers.items():
        absent.add(role, [n for n in some if not sizes[n]])
    lesions: Volume | None = None
    notes: list[str] = []
    if "lesion" in rules and "lesion" not in numbers:
        lesions = replace(image, array=np.zeros(image.array.shape, dtype=np.int32), flags=(), source=None)
    elif "lesion" in rules:
        lesions, notes = _lesions({n: masks[n] for n in numbers["lesion"] if sizes[n]}, sizes, image, case)
    anatomy = {role: _union([masks[n] for n in some]) for role, some in numbers.items() if role != "lesion"}
    return MaskSet(
        _split(lesions, rules),
        anatomy,
        (*flags, *absent.of_lesions, *notes),
        (*flags, *absent.of_anatomy),
        offset_mm,
        offset_voxels,
    )


def _union(masks: list[np.ndarray]) -> np.ndarray:
    result = masks[0]
    for mask in masks[1:]:
        result = result | mask
    return result


def _split(lesions: Volume | None, rules: Mapping[str, RoleRule]) -> Volume | None:
    return split_components(lesions) if lesions is not None and rules["lesion"].components else lesions


def _lesions(
    masks: Mapping[int, np.ndarray], sizes: Mapping[int, int], image: Volume, case: str
) -> tuple[Volume, list[str]]:
    """One label image of the lesions: where they overlap, the smaller one keeps the voxels, so that none vanishes."""
    if not masks:
        raise CaseError("no_lesion_label", "the mask holds none of the lesion labels", where=case)
    if len(masks) > MAX_LABELS:
        what = "the mask has more lesions than a patient has regions"
        raise CaseError("too_many_labels", what, where=case, expected=f"at most {MAX_LABELS}")
    labels = np.zeros(image.array.shape, dtype=np.int32)
    for number in sorted(masks, key=lambda n: (-sizes[n], -n)):
        labels[masks[number]] = number
    flags = []
    overlap = sum(sizes[n] for n in masks) - int(np.count_nonzero(labels))
    if overlap:
        left = set(np.unique(labels).tolist())
        flags = [f"lesions_overlap:{overlap}", *(f"lesion_hidden:{n}" for n in masks if n not in left)]
    return replace(image, array=labels, flags=(), source=None), flags


def as_label_images(masks: MaskSet, image: Volume) -> list[tuple[str, Volume, str]]:
    """A mask set as label images that say the same: lesions in one, all anatomy in another.

    Returns
    -------
    list of (name, image, roles)
        ``name`` is ``lesions`` or ``anatomy``. Anatomy roles may overlap: each combination of roles gets a label, and
        ``roles`` names all labels of a role.
    """
    found: list[tuple[str, Volume, str]] = []
    if masks.lesions is not None:
        found.append(("lesions", masks.lesions, "lesion=*" if masks.lesions.array.any() else f"lesion={NO_LESION}"))
    roles = [role for role, inside in masks.anatomy.items() if inside.any()]
    if roles:
        code = np.zeros(masks.anatomy[roles[0]].shape, dtype=np.int32)
        for bit, role in enumerate(roles):
            code |= masks.anatomy[role].astype(np.int32) << bit
        combinations = [int(c) for c in np.unique(code) if c]
        labels = np.searchsorted([0, *combinations], code).astype(np.int32)
        text = ";".join(
            f"{role}=" + ",".join(str(k) for k, c in enumerate(combinations, start=1) if c >> bit & 1)
            for bit, role in enumerate(roles)
        )
        found.append(("anatomy", replace(image, array=labels, flags=(), source=None), text))
    return found
