"""Reading refuses everything that is not a complete image; writing is deterministic; grids are compared in voxels."""

from __future__ import annotations

import gzip
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from radiomics_crlm.errors import CaseError, ConfigError, InputError
from radiomics_crlm.imaging.geometry import clip_hu_padding, same_grid_offset
from radiomics_crlm.imaging.payload import IncompleteFileError, _nifti_bytes
from radiomics_crlm.imaging.volume import (
    FORMATS,
    Volume,
    check_same_geometry,
    from_itk,
    path_inside,
    read_volume,
    to_itk,
    write_volume,
)

ANGLE = np.deg2rad(20)
OBLIQUE = (
    1.0,
    0.0,
    0.0,
    0.0,
    float(np.cos(ANGLE)),
    float(-np.sin(ANGLE)),
    0.0,
    float(np.sin(ANGLE)),
    float(np.cos(ANGLE)),
)


def make_volume(dtype: type = np.int16, shape: tuple[int, int, int] = (5, 7, 9)) -> Volume:
    values = np.random.default_rng(0).integers(-1000, 1000, shape)
    return Volume(values.astype(dtype), (0.5, 0.75, 2.5), (-10.0, 20.5, 300.25), OBLIQUE)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64, np.int32])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str, dtype: type) -> None:
    volume = make_volume(dtype)
    write_volume(volume, tmp_path / f"a{ending}")
    again = read_volume(tmp_path / f"a{ending}", case="P1")
    assert again.array.dtype == dtype
    np.testing.assert_array_equal(again.array, volume.array)
    # NIfTI keeps the header in single precision
    np.testing.assert_allclose(again.spacing, volume.spacing, rtol=1e-6)
    np.testing.assert_allclose(again.origin, volume.origin, rtol=1e-6)
    np.testing.assert_allclose(again.direction, volume.direction, atol=1e-6)
    assert check_same_geometry(volume, again, case="P1")[0].spacing == volume.spacing


@pytest.mark.parametrize("ending", FORMATS)
def test_same_volume_same_bytes_and_nothing_left_behind(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"first{ending}", tmp_path / f"other_name{ending}"
    write_volume(make_volume(), first)
    write_volume(make_volume(), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"first{ending}", f"other_name{ending}"]


def test_booleans_are_written_as_bytes(tmp_path: Path) -> None:
    mask = replace(make_volume(), array=make_volume().array > 0)
    write_volume(mask, tmp_path / "m.nii.gz")
    again = read_volume(tmp_path / "m.nii.gz", case="P1")
    assert again.array.dtype == np.uint8
    np.testing.assert_array_equal(again.array, mask.array)


def test_scaled_nifti_gives_scaled_values(tmp_path: Path) -> None:
    write_volume(make_volume(), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<ff", content, 112, 2.0, -1024.0)  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    scaled = read_volume(tmp_path / "a.nii", case="P1")
    np.testing.assert_allclose(scaled.array, make_volume().array * 2.0 - 1024.0)


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif how == "header only":
        path.write_bytes(content[:200])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_bytes(b"not an image " * 100)
    elif how == "last byte":
        path.write_bytes(content[:-1])


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("how", ["cut", "header only", "empty", "text", "last byte"])
def test_damaged_files_cost_the_case(tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str, how: str) -> None:
    path = tmp_path / f"secret_name{ending}"
    write_volume(make_volume(), path)
    spoil(path, how)
    with pytest.raises(CaseError, match="P1") as caught:
        read_volume(path, case="P1")
    assert caught.value.code == "unreadable_image"
    assert "secret_name" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert capfd.readouterr() == ("", "")


def test_truncation_inside_an_intact_gzip_stream_is_seen(tmp_path: Path) -> None:
    write_volume(make_volume(), tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()[:500]))
    with pytest.raises(CaseError, match="voxel data end after 500 of 982 bytes"):
        read_volume(tmp_path / "a.nii.gz", case="P1")


def test_flipped_bit_in_compressed_data_is_seen(tmp_path: Path) -> None:
    for name, compress in (("a.nii.gz", False), ("a.mha", True), ("a.nrrd", True)):
        path = tmp_path / name
        if compress:
            sitk.WriteImage(to_itk(make_volume()), str(path), useCompression=True)
        else:
            write_volume(make_volume(), path)
        content = bytearray(path.read_bytes())
        content[-40] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(CaseError) as caught:
            read_volume(path, case="P1")
        assert caught.value.code == "unreadable_image", name


def test_compressed_metaimage_and_nrrd_are_read(tmp_path: Path) -> None:
    for name in ("a.mha", "a.nrrd"):
        sitk.WriteImage(to_itk(make_volume()), str(tmp_path / name), useCompression=True)
        np.testing.assert_array_equal(read_volume(tmp_path / name, case="P1").array, make_volume().array)


def write_nrrd(path: Path, extra: bytes = b"") -> None:
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n"
    path.write_bytes(head + extra + b"\n" + bytes(16))


def test_voxels_in_another_file_are_refused(tmp_path: Path) -> None:
    write_nrrd(tmp_path / "whole.nrrd")
    assert read_volume(tmp_path / "whole.nrrd", case="P1").array.shape == (2, 2, 2)
    (tmp_path / "other.raw").write_bytes(bytes(16))
    write_nrrd(tmp_path / "detached.nrrd", b"data file: other.raw\n")
    head = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = other.raw\n"
    (tmp_path / "detached.mha").write_text(head)
    for name in ("detached.nrrd", "detached.mha"):
        with pytest.raises(CaseError, match="voxels in another file"):
            read_volume(tmp_path / name, case="P1")


def test_codes_of_other_refusals(tmp_path: Path) -> None:
    rgb = sitk.Compose([to_itk(make_volume())] * 3)
    flat = to_itk(make_volume())[:, :, 0]
    series = sitk.JoinSeries([to_itk(make_volume())] * 2)
    bad = make_volume(np.float32)
    bad.array[1, 2, 3] = np.nan
    bad.array[1, 2, 4] = np.inf
    cases = [
        ("missing_file", None, {}),
        ("unsupported_format", b"x", {}),
        ("not_scalar_3d", rgb, {}),
        ("not_scalar_3d", flat, {}),
        ("not_scalar_3d", series, {}),
        ("non_finite_voxels", to_itk(bad), {}),
        ("too_many_voxels", to_itk(make_volume()), {"max_voxels": 314}),
    ]
    for number, (code, content, options) in enumerate(cases):
        path = tmp_path / f"{number}.{'png' if code == 'unsupported_format' else 'mha'}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            sitk.WriteImage(content, str(path))
        with pytest.raises(CaseError, match="P9") as caught:
            read_volume(path, case="P9", **options)
        assert caught.value.code == code


def _shear(content: bytes, ending: str) -> bytes:
    """The second axis leans by a quarter of a right angle and more."""
    if ending == ".nii":
        changed = bytearray(content)
        struct.pack_into("<2h", changed, 252, 0, 2)  # no rotation but the affine below
        struct.pack_into("<12f", changed, 280, 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
        return bytes(changed)
    name, axes = {
        ".mha": (b"TransformMatrix = ", b"1 0.5 0 0 1 0 0 0 1"),
        ".nrrd": (b"space directions: ", b"(1,0.5,0) (0,1,0) (0,0,1)"),
    }[ending]
    return re.sub(name + rb"[^\n]*", name + axes, content)


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
def test_leaning_axes_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_volume(make_volume(), path)
    path.write_bytes(_shear(path.read_bytes(), ending))
    with pytest.raises(CaseError, match=r"^P1: the direction cosines .*orthonormal\.$") as refused:
        read_volume(path, case="P1")
    assert refused.value.code == "invalid_geometry"


def test_a_trailing_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.JoinSeries([to_itk(make_volume())]), str(tmp_path / "a.mha"))
    again = read_volume(tmp_path / "a.mha", case="P1")
    np.testing.assert_array_equal(again.array, make_volume().array)
    np.testing.assert_allclose(again.direction, OBLIQUE)


@pytest.mark.parametrize(
    "named", ["/etc/passwd", "../a.nii", "a/../../b.nii", "..\\a.nii", "C:\\a.nii", "c:a.nii", "", ".", "a\0b.nii"]
)
def test_a_path_that_leads_out_of_the_folder_is_refused_without_naming_it(tmp_path: Path, named: str) -> None:
    with pytest.raises(CaseError, match="^case 7: a path leads out of the folder of the manifest") as refused:
        path_inside(tmp_path, named, case="case 7")
    assert refused.value.code == "path_outside"


def test_paths_inside_are_understood_from_either_system(tmp_path: Path) -> None:
    for named in ("P 1/ü/image.nii.gz", "P 1\\ü\\image.nii.gz", "./P 1/ü/image.nii.gz"):
        assert path_inside(tmp_path, named, case="x") == tmp_path / "P 1" / "ü" / "image.nii.gz"
    assert path_inside(tmp_path, "..a/b", case="x") == tmp_path / "..a" / "b"


def test_too_large_is_refused_before_voxels_are_read(tmp_path: Path) -> None:
    write_volume(make_volume(), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<3h", content, 42, 30000, 30000, 30000)  # announces 27e12 voxels
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(CaseError, match="too large; expected at most") as caught:
        read_volume(tmp_path / "a.nii", case="P1")
    assert caught.value.code == "too_many_voxels"


def test_nifti_size_from_either_version_and_byte_order() -> None:
    for order in "<>":
        one = bytearray(540)
        struct.pack_into(order + "i", one, 0, 348)
        struct.pack_into(order + "8h", one, 40, 3, 4, 5, 6, 1, 1, 1, 1)
        struct.pack_into(order + "h", one, 72, 16)
        struct.pack_into(order + "f", one, 108, 352.0)
        one[344:348] = b"n+1\0"
        assert _nifti_bytes(bytes(one)) == 352 + 240
        two = bytearray(540)
        struct.pack_into(order + "i", two, 0, 540)
        two[4:8] = b"n+2\0"
        struct.pack_into(order + "h", two, 14, 32)
        struct.pack_into(order + "8q", two, 16, 3, 4, 5, 6, 1, 1, 1, 1)
        struct.pack_into(order + "q", two, 168, 544)
        assert _nifti_bytes(bytes(two)) == 544 + 480
        one[344:348] = b"ni1\0"  # header of a two-file image
        with pytest.raises(IncompleteFileError, match="not a single-file NIfTI"):
            _nifti_bytes(bytes(one))


def test_write_refuses_unknown_endings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file ending"):
        write_volume(make_volume(), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array": np.zeros((2, 2))}, "three axes"),
        ({"array": np.zeros((0, 2, 2))}, "at least one voxel"),
        ({"spacing": (1.0, 1.0, 0.0)}, "positive spacing"),
        ({"spacing": (1.0, 1.0, float("nan"))}, "finite"),
        ({"direction": (1.0, 0, 0, 0, 1, 0)}, "3, 3 and 9"),
        ({"direction": (1.0, 0.5, 0, 0, 1, 0, 0, 0, 1)}, "orthonormal"),
    ],
)
def test_an_invalid_volume_cannot_be_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(make_volume(), **change)


def test_itk_round_trip_keeps_places() -> None:
    image = to_itk(make_volume())
    again = from_itk(image)
    assert again.spacing == make_volume().spacing
    index = (8, 6, 4)
    expected = image.TransformIndexToPhysicalPoint(index)
    np.testing.assert_allclose(again.index_to_mm @ np.array(index) + again.origin, expected)
    assert image.GetPixel(index) == again.array[4, 6, 8]
    assert again.voxel_volume_ml == pytest.approx(0.5 * 0.75 * 2.5 / 1000)


def test_offset_is_told_in_mm_and_voxels() -> None:
    image = make_volume()
    step = np.array(image.index_to_mm @ [0, 0, 0.4])  # 0.4 slices = 1.0 mm, along the oblique normal
    moved = replace(image, origin=tuple(np.array(image.origin) + step))
    assert same_grid_offset(image, moved) == pytest.approx((1.0, 0.4))
    with pytest.raises(CaseError, match=r"1\.000 mm = 0\.400 voxel; differing: origin by") as caught:
        check_same_geometry(image, moved, case="P1")
    assert caught.value.code == "geometry_mismatch"


def test_spacing_direction_and_size_differences_are_told() -> None:
    image = make_volume()
    with pytest.raises(CaseError, match=r"spacing by 0\.1 mm") as caught:
        check_same_geometry(image, replace(image, spacing=(0.6, 0.75, 2.5)), case="P1")
    # 9 columns of 0.1 mm more; the far corner lies 8.5 columns from the origin
    assert "0.850 mm = 1.700 voxel" in str(caught.value)
    with pytest.raises(CaseError, match="direction by 2"):
        check_same_geometry(image, replace(image, direction=(-1.0, *OBLIQUE[1:])), case="P1")
    with pytest.raises(CaseError, match=r"9 x 7 x 5 voxels .* got 9 x 7 x 4"):
        check_same_geometry(image, replace(image, array=image.array[1:]), case="P1")


def test_rounding_of_headers_is_repaired_and_reported() -> None:
    image = make_volume()
    mask = replace(image, origin=(-10.001, 20.5, 300.25), array=image.array > 0)
    repaired, flags = check_same_geometry(image, mask, case="P1")
    assert flags == ("mask_header_repaired",)
    assert (repaired.spacing, repaired.origin, repaired.direction) == (image.spacing, image.origin, image.direction)
    assert check_same_geometry(image, repaired, case="P1") == (repaired, ())
    just_too_far = replace(mask, origin=(-10.0051, 20.5, 300.25))  # 0.0102 of 0.5 mm
    with pytest.raises(CaseError, match="within 0.01 voxel"):
        check_same_geometry(image, just_too_far, case="P1")


def test_padding_is_clipped_once() -> None:
    volume = replace(make_volume(), array=np.full((1, 1, 2), [-3024, -1024], dtype=np.int16))
    clipped = clip_hu_padding(volume)
    assert clipped.array.tolist() == [[[-1024, -1024]]]
    assert clipped.array.dtype == np.int16
    assert clip_hu_padding(clipped) is clipped
