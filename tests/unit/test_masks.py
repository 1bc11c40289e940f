"""Segmentations, structure sets and label images through one door; every ambiguity lists its candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_examples import Series, box_contour, image_slices, save_all, save_one, segmentation, structure_set, uid
from pydicom.dataset import Dataset, FileDataset

from radiomics_crlm.errors import CaseError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import as_label_images, parse_roles, read_mask, read_scan
from radiomics_crlm.imaging.volume import read_volume, write_volume

SHAPE = (6, 9, 11)
ROLES = "lesion=Tumor_*;liver=Liver;remnant=Liver Remnant;hepatic_veins=Hepatic;portal_vein=Portal"


def regions() -> dict[str, np.ndarray]:
    """Liver with its remnant and vessels in it, and three lesions of which two overlap."""
    empty = {name: np.zeros(SHAPE, dtype=bool) for name in ("Liver", "Liver Remnant", "Hepatic", "Portal")}
    empty["Liver"][1:5, 1:8, 1:10] = True
    empty["Liver Remnant"][1:5, 1:8, 5:10] = True
    empty["Hepatic"][2, 3, 2:9] = True
    empty["Portal"][3, 2:6, 4] = True
    for k, box in enumerate((np.s_[1:3, 2:5, 2:5], np.s_[2:4, 4:6, 3:6], np.s_[4, 6, 8]), start=1):
        empty[f"Tumor_{k}"] = np.zeros(SHAPE, dtype=bool)
        empty[f"Tumor_{k}"][box] = True
    return empty


@pytest.fixture
def slices() -> list[FileDataset]:
    values = np.random.default_rng(0).integers(-100, 200, SHAPE)
    return image_slices(values, Series(orientation=(0.8, 0.6, 0, -0.6, 0.8, 0)))


@pytest.fixture
def image(slices: list[FileDataset], tmp_path: Path) -> Volume:
    return read_volume(save_all(tmp_path / "image", slices), case="P1")


def code_of(call: Callable[[], object], match: str) -> str:
    with pytest.raises(CaseError, match=match) as caught:
        call()
    assert "Secret" not in str(caught.value)
    assert "P1" in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("file", ["seg", "labels"])
def test_roles_of_a_segmentation_and_of_label_images(
    slices: list[FileDataset], image: Volume, tmp_path: Path, file: str
) -> None:
    expected = regions()
    masks = read_mask(save_one(tmp_path / "s.dcm", segmentation(slices, expected)), image, roles=ROLES, case="P1")
    if file == "labels":  # what ingest writes says the same
        for name, labels, roles in as_label_images(masks, image):
            write_volume(labels, tmp_path / f"{name}.mha")
            again = read_mask(tmp_path / f"{name}.mha", image, roles=roles, case="P1")
            masks = (
                replace(again, anatomy=masks.anatomy) if name == "lesions" else replace(masks, anatomy=again.anatomy)
            )
    assert masks.lesions is not None
    names = {"liver": "Liver", "remnant": "Liver Remnant", "hepatic_veins": "Hepatic", "portal_vein": "Portal"}
    for role, name in names.items():
        np.testing.assert_array_equal(masks.anatomy[role], expected[name], err_msg=role)
    lesions = masks.lesions.array
    overlap = expected["Tumor_1"] & expected["Tumor_2"]
    assert overlap.sum() == 2
    # segment numbers are lesion numbers; where two overlap the smaller one, Tumor_2, keeps the voxels
    np.testing.assert_array_equal(lesions == 5, expected["Tumor_1"] & ~overlap)
    np.testing.assert_array_equal(lesions == 6, expected["Tumor_2"])
    np.testing.assert_array_equal(lesions == 7, expected["Tumor_3"])
    assert masks.lesion_flags == (("lesions_overlap:2",) if file == "seg" else ())


def test_a_lesion_that_vanishes_under_another_is_named(
    slices: list[FileDataset], image: Volume, tmp_path: Path
) -> None:
    one = regions()["Tumor_1"]
    path = save_one(tmp_path / "s.dcm", segmentation(slices, {"A": one, "B": one}))
    masks = read_mask(path, image, roles="lesion=*", case="P1")
    assert masks.lesion_flags == (f"lesions_overlap:{one.sum()}", "lesion_hidden:2")


def test_segments_without_voxels_are_flagged(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    named = {"Tumor_1": regions()["Tumor_1"], "Tumor_2": np.zeros(SHAPE, bool), "Liver": np.zeros(SHAPE, bool)}
    path = save_one(tmp_path / "s.dcm", segmentation(slices, named))
    masks = read_mask(path, image, roles="lesion=Tumor_*;liver=Liver", case="P1")
    assert masks.lesion_flags == ("label_absent:lesion=2",)
    assert masks.anatomy_flags == ("label_absent:liver=3",)
    assert not masks.anatomy["liver"].any()
    assert code_of(lambda: read_mask(path, image, roles="liver=Liver", case="P1"), "no labelled voxel") == "empty_mask"
    only = "lesion=Tumor_2;liver=Tumor_1"
    assert code_of(lambda: read_mask(path, image, roles=only, case="P1"), "none of the lesion") == "no_lesion_label"


def test_components_of_one_segment_are_lesions(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    path = save_one(tmp_path / "s.dcm", segmentation(slices, {"Lesions": sum(list(regions().values())[4:]) > 0}))
    masks = read_mask(path, image, roles="lesion=components:lesion*", case="P1")
    assert masks.lesions is not None
    assert np.bincount(masks.lesions.array.ravel())[1:].tolist() == [28, 1]


def _shift(axis: int, distance: float) -> Callable[[Dataset], None]:
    def change(one: Dataset) -> None:
        places = [group.PlanePositionSequence[0] for group in one.PerFrameFunctionalGroupsSequence]
        for place in {id(p): p for p in places}.values():  # frames of one plane share the object
            moved = [float(v) for v in place.ImagePositionPatient]
            moved[axis] += distance
            place.ImagePositionPatient = [float(f"{v:.6f}") for v in moved]

    return change


def _set(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda one: setattr(one, keyword, value)


def _turn(one: Dataset) -> None:
    one.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _coarser(one: Dataset) -> None:
    one.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.0, 1.5]


def _drop_positions(one: Dataset) -> None:
    del one.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence


REFUSED_SEGMENTATIONS: list[tuple[str, str, Callable[[Dataset], None]]] = [
    ("geometry_mismatch", r"0\.200 mm = 0\.240 voxel", _shift(0, 0.2)),
    ("geometry_mismatch", r"0\.500 mm = 0\.167 voxel", _shift(2, 0.5)),
    ("geometry_mismatch", "another voxel size or orientation|voxel", _turn),
    ("geometry_mismatch", "another voxel size or orientation", _coarser),
    ("mask_outside_image", r"\d+ voxels outside", _shift(2, 300.0)),
    ("missing_geometry", "lacks its segments", _drop_positions),
    ("missing_geometry", "lacks its segments", lambda one: delattr(one, "SegmentSequence")),
    ("missing_geometry", "lacks its segments", _set("NumberOfFrames", 3)),
    ("unreadable_image", "truncated", _set("PixelData", bytes(4))),
    ("too_many_voxels", "impossible size", _set("NumberOfFrames", 10**9)),
    ("fractional_segmentation", "probabilities", _set("SegmentationType", "FRACTIONAL")),
    ("other_frame_of_reference", "another frame of reference", _set("FrameOfReferenceUID", uid("elsewhere"))),
    ("other_study", "another study", _set("StudyInstanceUID", uid("elsewhere"))),
    ("other_patient", "another patient", _set("PatientID", "Secret")),
]


@pytest.mark.parametrize(("code", "match", "change"), REFUSED_SEGMENTATIONS)
def test_segmentations_that_do_not_fit_are_refused(
    slices: list[FileDataset], image: Volume, tmp_path: Path, code: str, match: str, change: Callable[[Dataset], None]
) -> None:
    one = segmentation(slices, regions())
    change(one)
    path = save_one(tmp_path / "s.dcm", one)
    assert code_of(lambda: read_mask(path, image, roles=ROLES, case="P1"), match) == code


def test_small_misfits_are_repaired_and_reported(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    one = segmentation(slices, regions())
    _shift(2, 0.06)(one)  # 0.02 of the slice distance
    masks = read_mask(save_one(tmp_path / "s.dcm", one), image, roles=ROLES, case="P1")
    assert masks.offset_mm == pytest.approx(0.06)
    assert masks.offset_voxels == pytest.approx(0.02)
    assert "mask_header_repaired" in masks.anatomy_flags
    np.testing.assert_array_equal(masks.anatomy["liver"], regions()["Liver"])


def test_a_real_fractional_object_is_refused(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    path = save_one(tmp_path / "s.dcm", segmentation(slices, {"Liver": regions()["Liver"]}, kind="FRACTIONAL"))
    assert (
        code_of(lambda: read_mask(path, image, roles="liver=1", case="P1"), "FRACTIONAL") == "fractional_segmentation"
    )


def test_unknown_and_ambiguous_names_list_the_labels(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    path = save_one(tmp_path / "s.dcm", segmentation(slices, regions()))
    listing = "expected one of 1 'Liver', 2 'Liver Remnant', 3 'Hepatic', 4 'Portal', 5 'Tumor_1', 6 'Tumor_2'"
    for roles in ("liver=Lung", "lesion=Met_*", "liver=8", "liver=liver,kidney"):
        assert code_of(lambda roles=roles: read_mask(path, image, roles=roles, case="P1"), listing) == "unknown_segment"
    twins = segmentation(slices, {"Tumor": regions()["Tumor_1"]})
    again = segmentation(slices, {"A": regions()["Tumor_1"], "B": regions()["Tumor_3"]})
    for segment in again.SegmentSequence:
        segment.SegmentLabel = "Tumor"
    path = save_one(tmp_path / "t.dcm", again)
    assert code_of(lambda: read_mask(path, image, roles="lesion=tumor", case="P1"), "1 'Tumor', 2 'Tumor'") == (
        "ambiguous_segment"
    )
    assert read_mask(path, image, roles="lesion=tum*", case="P1").lesions is not None
    assert read_mask(save_one(tmp_path / "u.dcm", twins), image, roles="lesion=TUMOR", case="P1").lesions is not None
    write_volume(replace(image, array=regions()["Liver"]), tmp_path / "l.nii.gz")
    call = lambda: read_mask(tmp_path / "l.nii.gz", image, roles="liver=Liver", case="P1")  # noqa: E731
    assert code_of(call, "numbers only; expected one of 1") == "unknown_segment"


@pytest.mark.parametrize(
    "text",
    ["", "lesion", "lesion=", "lesion=0", "lesion=-1", "lesion=1.5", "kidney=1", "lesion=1;lesion=2", "lesion=1,*"],
)
def test_bad_roles_are_refused(text: str) -> None:
    assert code_of(lambda: parse_roles(text, case="P1"), "roles of a mask cannot be parsed") == "bad_mask_roles"


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_a_truncated_object_is_never_read_as_a_smaller_mask(
    slices: list[FileDataset], image: Volume, tmp_path: Path, kind: str
) -> None:
    boxes = [box_contour(slices, k, (2, 5), (3, 6)) for k in (1, 2)]
    one = (
        segmentation(slices, regions()) if kind == "seg" else structure_set(slices, {"Liver": boxes, "Tumor_1": boxes})
    )
    path = save_one(tmp_path / "m.dcm", one)
    content = path.read_bytes()
    for cut in range(200, len(content), 97):
        path.write_bytes(content[:cut])
        with pytest.raises(CaseError, match="P1"):
            read_mask(path, image, roles="lesion=Tumor_*;liver=Liver", case="P1")


def test_a_folder_with_one_mask_will_do(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    folder = save_all(tmp_path / "both", slices)
    save_one(folder / "seg.dcm", segmentation(slices, regions()))
    assert read_mask(folder, image, roles=ROLES, case="P1").lesions is not None
    write_volume(replace(image, array=regions()["Liver"]), folder / "labels.nii.gz")
    # of a label image and a SEG, the SEG says that it belongs to this series
    assert read_mask(folder, image, roles=ROLES, case="P1").lesions is not None
    plain = replace(image, source=None)
    match = "got a label image; a SEG with 1 'Liver'|a SEG with 1 'Liver'.*; a label image"
    assert code_of(lambda: read_mask(folder, plain, roles=ROLES, case="P1"), match) == "ambiguous_mask"


def test_several_masks_in_a_folder(slices: list[FileDataset], image: Volume, tmp_path: Path) -> None:
    rectangle = [box_contour(slices, 2, (2, 4), (3, 6))]
    folder = tmp_path / "masks"
    save_one(folder / "a.dcm", structure_set(slices, {"GTV": rectangle}))
    save_one(folder / "b.dcm", structure_set(slices, {"GTV old": rectangle}))
    match = "got an RTSTRUCT with 1 'GTV'; an RTSTRUCT with 1 'GTV old'"
    assert code_of(lambda: read_mask(folder, image, roles="lesion=GTV*", case="P1"), match) == "ambiguous_mask"
    # the one that was drawn on the series of the image decides
    other = image_slices(np.zeros(SHAPE), Series(number=2, orientation=(0.8, 0.6, 0, -0.6, 0.8, 0)))
    save_one(folder / "b.dcm", structure_set(other, {"GTV old": rectangle}))
    assert read_mask(folder, image, roles="lesion=GTV", case="P1").lesion_flags == ()
    empty = tmp_path / "none"
    empty.mkdir()
    assert code_of(lambda: read_mask(empty, image, roles="lesion=*", case="P1"), "no mask here") == "no_mask"
    absent = tmp_path / "absent.nii"
    assert code_of(lambda: read_mask(absent, image, roles="lesion=*", case="P1"), "not exist") == "missing_file"


def test_the_mask_decides_between_two_series(tmp_path: Path) -> None:
    first, second = (
        image_slices(np.full(SHAPE, value), Series(number=number, description=text))
        for number, value, text in ((1, 10, "arterial"), (2, 20, "portal venous"))
    )
    folder = save_all(save_all(tmp_path / "both", first, "a"), second, "b")
    mask = save_one(tmp_path / "seg.dcm", segmentation(second, regions()))

    def value(rule: str, masks: list[Path]) -> int:
        return int(read_scan(folder, masks, rule=rule, case="P1").array[0, 0, 0])

    assert value("", [mask]) == 20
    assert value("number=1", [mask]) == 10
    assert value("description=*VENOUS*", []) == 20
    assert value(f"uid={Series(number=1).uid}", []) == 10
    listing = r"number 1 \(CT, 6 slices, 0.75 x 0.5 x 3 mm\), number 2 \(CT, 6 slices"
    assert code_of(lambda: value("", []), listing) == "ambiguous_series"
    assert code_of(lambda: value("description=*", []), listing) == "ambiguous_series"
    assert code_of(lambda: value("number=7", []), "expected number=7; got number 1") == "no_such_series"
    assert code_of(lambda: value("colour=red", []), "cannot be parsed") == "bad_series_rule"
    chosen = read_scan(folder, [], rule="number=1", case="P1")
    masks = read_mask(mask, chosen, roles=ROLES, case="P1")
    assert "mask_references_other_series" in masks.lesion_flags


def test_an_image_without_a_source_is_judged_by_geometry(
    slices: list[FileDataset], image: Volume, tmp_path: Path
) -> None:
    write_volume(image, tmp_path / "i.nii.gz")
    plain = read_volume(tmp_path / "i.nii.gz", case="P1")
    one = segmentation(slices, regions())
    one.PatientID, one.FrameOfReferenceUID = "other", uid("other")
    masks = read_mask(save_one(tmp_path / "s.dcm", one), plain, roles=ROLES, case="P1")
    np.testing.assert_array_equal(masks.anatomy["portal_vein"], regions()["Portal"])
    assert masks.offset_voxels < 1e-4


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("lesion=*", {"lesion": None}),
        ("liver=1,2,3,4;remnant=2;hepatic_veins=3;portal_vein=4", {
            "liver": (1, 2, 3, 4), "remnant": (2,), "hepatic_veins": (3,), "portal_vein": (4,)}),
        (" liver = 2, 1 , 2 ; lesion = 7 ", {"liver": (1, 2), "lesion": (7,)}),
        ("lesion=none;liver=1", {"lesion": (), "liver": (1,)}),
        ("lesion=components;spleen=Spleen", {"lesion": None, "spleen": ("Spleen",)}),
    ],
)  # fmt: skip
def test_roles_are_parsed(text: str, roles: dict[str, tuple[int | str, ...] | None]) -> None:
    assert {role: rule.labels for role, rule in parse_roles(text, case="P1").items()} == roles
