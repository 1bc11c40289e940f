"""The cache of extractions: exact numbers, nothing damaged is believed, nothing of the patient in it."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_scans import PROFILE, assert_same_tables, extracted, with_settings, write_small_cohort

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features import fingerprint as hashing
from radiomics_crlm.features.cache import VERSION, Known, ScanCache, open_cache
from radiomics_crlm.features.fingerprint import Fingerprint, changed, code_version, fingerprint, size_on_disk
from radiomics_crlm.features.parts import Region, RegionFeatures, part_names
from radiomics_crlm.imaging.scan import ScanFiles, scans_of
from radiomics_crlm.provenance.files import sha256_bytes
from radiomics_crlm.provenance.plain_values import decode, encode

FOUND = Fingerprint("a" * 64, "b" * 64, ())
LESION = Region("lesion", 1)
WHOLE = {part: {f"{part}_Some": 0.1 + number} for number, part in enumerate(part_names(PROFILE))}


def cache(folder: Path, found: Fingerprint = FOUND, **changes: object) -> ScanCache:
    return ScanCache(folder, found, with_settings(**changes) if changes else PROFILE)


def files_of(folder: Path, kind: str = "region") -> list[Path]:
    return sorted((folder / f"v{VERSION}" / kind).rglob("*.json"))


def filled(folder: Path, parts: dict[str, dict[str, float]] | None = None) -> Path:
    """A cache with one region in it; returns its file."""
    cache(folder).keep_region(RegionFeatures(LESION, "ok", "", "flat", WHOLE if parts is None else parts), Known())
    (file,) = files_of(folder)
    return file


numbers = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), numbers | st.none() | st.integers() | st.text(max_size=5), max_size=6))
def test_every_value_comes_back(content: dict[str, object]) -> None:
    back = decode(json.loads(json.dumps(encode(content), allow_nan=False)))
    assert back.keys() == content.keys()
    for name, value in content.items():
        assert type(back[name]) is type(value)
        if isinstance(value, float):
            assert math.copysign(1, back[name]) == math.copysign(1, value) or math.isnan(value)
            assert back[name] == value or (math.isnan(value) and math.isnan(back[name]))
        else:
            assert back[name] == value


def test_a_region_comes_back_whole(tmp_path: Path) -> None:
    filled(tmp_path)
    found = cache(tmp_path).region(LESION)
    assert found.features == RegionFeatures(LESION, "ok", "", "flat", WHOLE)
    assert cache(tmp_path).region(Region("lesion", 2)) == Known()
    assert cache(tmp_path).region(Region("liver")) == Known()
    assert cache(tmp_path, replace(FOUND, voxels="c" * 64)).region(LESION) == Known()
    assert ScanCache(None, FOUND, PROFILE).region(LESION) == Known()
    assert ScanCache(tmp_path, None, PROFILE).region(LESION) == Known()


def test_a_failure_comes_back_without_parts(tmp_path: Path) -> None:
    failed = RegionFeatures(LESION, "failed", "one_voxel", "touches_border")
    cache(tmp_path).keep_region(failed, Known())
    assert cache(tmp_path).region(LESION).features == failed


def test_what_may_go_well_next_time_is_not_kept(tmp_path: Path) -> None:
    cache(tmp_path).keep_region(RegionFeatures(LESION, "failed", "too_large_for_memory"), Known())
    assert files_of(tmp_path) == []


def test_measurements_come_back(tmp_path: Path) -> None:
    record = {"lesions": [{"lesion": 1, "volume_ml": 0.1 + 0.2}], "measured": {"tbs": None, "x": math.inf}}
    cache(tmp_path).keep_measured(record)
    assert cache(tmp_path).measured() == record
    assert cache(tmp_path, replace(FOUND, scan="c" * 64)).measured() is None
    assert cache(tmp_path, log_sigma_mm=(3.0,), bin_width=10.0).measured() == record


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"name": "other", "description": "other"}, set()),
        ({"log_sigma_mm": (2.0, 3.0)}, {"log-sigma-3-0-mm-3D_firstorder", "log-sigma-3-0-mm-3D_glcm"}),
        ({"log_sigma_mm": None}, set()),
        (
            {"bin_width": 10.0},
            {"original_firstorder", "original_glcm", "log-sigma-2-0-mm-3D_firstorder", "log-sigma-2-0-mm-3D_glcm"},
        ),
        ({"voxel_array_shift": 5}, {"original_firstorder", "log-sigma-2-0-mm-3D_firstorder"}),
        ({"min_voxels": 4}, set()),
        (
            {"feature_classes": ("firstorder", "shape", "glcm", "ngtdm")},
            {"original_ngtdm", "log-sigma-2-0-mm-3D_ngtdm"},
        ),
    ],
)
def test_a_changed_setting_loses_only_what_depends_on_it(tmp_path: Path, changes: dict, lost: set[str]) -> None:
    filled(tmp_path)
    other = with_settings(**changes)
    found = ScanCache(tmp_path, FOUND, other).region(LESION)
    assert set(part_names(other)) - set(found.parts) == lost
    # status and flags may depend on any setting, so that only the same settings give the row itself
    assert (found.features is not None) == (changes.keys() <= {"name", "description"})


def test_parts_of_several_runs_are_put_together(tmp_path: Path) -> None:
    file = filled(tmp_path)
    before = file.read_bytes()
    wider = with_settings(log_sigma_mm=(2.0, 3.0))
    known = ScanCache(tmp_path, FOUND, wider).region(LESION)
    more = {part: WHOLE.get(part, {f"{part}_Some": -1.0}) for part in part_names(wider)}
    ScanCache(tmp_path, FOUND, wider).keep_region(RegionFeatures(LESION, "ok", "", "", more), known)
    assert len(files_of(tmp_path)) == 2
    assert file.read_bytes() == before
    added = next(f for f in files_of(tmp_path) if f != file).read_text()
    assert "log-sigma-3-0" in added
    assert "log-sigma-2-0" not in added
    assert ScanCache(tmp_path, FOUND, wider).region(LESION).features == RegionFeatures(LESION, "ok", "", "", more)
    assert cache(tmp_path).region(LESION).features == RegionFeatures(LESION, "ok", "", "flat", WHOLE)


def test_the_same_result_twice_is_one_file(tmp_path: Path) -> None:
    assert filled(tmp_path) == filled(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_believed(tmp_path: Path, share: float, bit: int) -> None:
    file = filled(tmp_path)
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    file.write_bytes(content)
    damaged = cache(tmp_path)
    found = damaged.region(LESION)
    # a changed blank in the first line changes nothing
    assert found.features in (None, RegionFeatures(LESION, "ok", "", "flat", WHOLE))
    assert (damaged.damaged == 1) == (found.features is None) == (not file.exists())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_truncated_file_is_believed(tmp_path: Path, share: float) -> None:
    file = filled(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    damaged = cache(tmp_path)
    assert damaged.region(LESION) == Known()
    assert damaged.damaged == 1
    assert not file.exists()


def forged(head: dict[str, object], body: bytes) -> bytes:
    """A file whose checksum is right."""
    first = {"format": "crlm extraction cache", "kind": "region", "version": VERSION, "sha256": sha256_bytes(body)}
    return json.dumps({**first, **head}).encode() + b"\n" + body


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({"version": VERSION + 1}, None),
        ({"version": VERSION - 1}, None),
        ({"version": str(VERSION)}, None),
        ({"kind": "scan"}, None),
        ({"name": "f" * 64}, None),
        ({"format": "something else"}, None),
        ({"more": 1}, None),
        ({}, b"[]"),
        ({}, b"{}"),
        ({}, b'{"parts": {}, "verdicts": NaN}x'),
        ({}, b"\xff"),
        ({}, b"[" * 100_000),
    ],
)
def test_no_foreign_file_is_believed(tmp_path: Path, head: dict[str, object], body: bytes | None) -> None:
    file = filled(tmp_path)
    first, _, own = file.read_bytes().partition(b"\n")
    file.write_bytes(forged({"name": json.loads(first)["name"], **head}, own if body is None else body))
    foreign = cache(tmp_path)
    assert foreign.region(LESION) == Known()
    assert (foreign.damaged, file.exists()) == (1, False)
    again = cache(tmp_path)
    assert again.region(LESION) == Known()
    assert again.damaged == 0


def test_a_file_in_the_place_of_another_is_not_believed(tmp_path: Path) -> None:
    file = filled(tmp_path)
    other = RegionFeatures(Region("lesion", 2), "failed", "one_voxel")
    cache(tmp_path).keep_region(other, Known())
    place = next(f for f in files_of(tmp_path) if f != file)
    shutil.copy(file, place)
    swapped = cache(tmp_path)
    assert swapped.region(Region("lesion", 2)) == Known()
    assert swapped.damaged == 1


def test_a_folder_in_the_place_of_a_file_is_not_believed(tmp_path: Path) -> None:
    file = filled(tmp_path)
    file.unlink()
    file.mkdir()
    strange = cache(tmp_path)
    assert strange.region(LESION) == Known()
    assert strange.damaged == 1


def test_what_cannot_be_written_is_counted(tmp_path: Path) -> None:
    (tmp_path / f"v{VERSION}").mkdir()
    (tmp_path / f"v{VERSION}" / "region").write_text("no folder")
    full = cache(tmp_path)
    full.keep_region(RegionFeatures(LESION, "ok", "", "", WHOLE), Known())
    assert full.not_stored == 1
    assert full.region(LESION) == Known()
    assert list((tmp_path / f"v{VERSION}").rglob("unfinished/*")) == []


def test_a_cache_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"cannot be written to.*--no-cache") as caught:
            open_cache(place)
        assert str(tmp_path) not in str(caught.value)
    assert open_cache(tmp_path / "new" / "cache") == tmp_path / "new" / "cache"


def test_what_killed_runs_left_is_swept_out(tmp_path: Path) -> None:
    left = open_cache(tmp_path) / f"v{VERSION}" / "unfinished"
    old, young = left / "old", left / "young"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    open_cache(tmp_path)
    assert sorted(left.iterdir()) == [young]


@pytest.fixture
def scan(tmp_path: Path) -> ScanFiles:
    return scans_of(write_small_cohort(tmp_path, 1))[0]


def marks(files: ScanFiles, root: Path) -> Fingerprint:
    found = fingerprint(files, root)
    assert found is not None
    return found


def test_fingerprints_depend_on_content_and_meaning(tmp_path: Path, scan: ScanFiles) -> None:
    first = marks(scan, tmp_path)
    assert marks(scan, tmp_path) == first
    different = [
        replace(scan, masks=tuple((mask, roles.replace("*", "1")) for mask, roles in scan.masks)),
        replace(scan, masks=scan.masks[::-1]),
        replace(scan, masks=scan.masks[:1]),
        replace(scan, series=("number=3",)),
        replace(scan, key=(*scan.key[:2], "MR", scan.key[3])),
        replace(scan, images=(scan.masks[0][0],)),
    ]
    found = {marks(files, tmp_path).voxels for files in different}
    assert len(found) == len(different)
    assert first.voxels not in found
    later = [replace(scan, contrast_delay_s=70.0), replace(scan, key=(*scan.key[:3], "arterial"))]
    assert {marks(files, tmp_path).voxels for files in later} == {first.voxels}
    assert len({marks(files, tmp_path).scan for files in [scan, *later]}) == 3


def test_fingerprints_know_neither_patient_nor_place(tmp_path: Path, scan: ScanFiles) -> None:
    first = marks(scan, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    renamed = {}
    for number, name in enumerate((*scan.images, *(mask for mask, _ in scan.masks))):
        renamed[name] = f"{number}.x.nii.gz"
        shutil.copy(tmp_path / name, elsewhere / renamed[name])
    other = ScanFiles(
        ("Q", "baseline", *scan.key[2:]),
        tuple(renamed[name] for name in scan.images),
        tuple((renamed[mask], roles) for mask, roles in scan.masks),
        study_day=99,
    )
    again = marks(other, elsewhere)
    assert (again.voxels, again.scan) == (first.voxels, first.scan)


def test_a_changed_byte_is_another_scan(tmp_path: Path, scan: ScanFiles) -> None:
    first = marks(scan, tmp_path)
    assert not changed(scan, tmp_path, first)
    for name in (*scan.images, *(mask for mask, _ in scan.masks)):
        path = tmp_path / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert changed(scan, tmp_path, first)
        second = marks(scan, tmp_path)
        assert second.voxels != first.voxels
        first = second


def test_the_format_belongs_to_the_content(tmp_path: Path, scan: ScanFiles) -> None:
    first = marks(scan, tmp_path)
    (tmp_path / scan.images[0]).rename(tmp_path / "image.nrrd")
    assert marks(replace(scan, images=("image.nrrd",)), tmp_path).voxels != first.voxels


def test_folders_are_hashed_file_by_file(tmp_path: Path, scan: ScanFiles) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(bytes([number]) * 100)
    files = replace(scan, images=("series",))
    first = marks(files, tmp_path)
    assert size_on_disk(files, tmp_path) == 300
    (folder / "1.dcm").write_bytes(b"x" * 100)
    assert changed(files, tmp_path, first)
    second = marks(files, tmp_path)
    (folder / "3.dcm").write_bytes(b"")
    assert len({first.voxels, second.voxels, marks(files, tmp_path).voxels}) == 3


def test_files_that_cannot_be_read_have_no_fingerprint(tmp_path: Path, scan: ScanFiles) -> None:
    first = marks(scan, tmp_path)
    for bad in ("absent.nii.gz", "../outside.nii.gz"):
        files = replace(scan, images=(bad,))
        assert fingerprint(files, tmp_path) is None
        assert size_on_disk(files, tmp_path) == 0
        assert changed(files, tmp_path, first)


def test_other_code_is_another_fingerprint(tmp_path: Path, scan: ScanFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    first = marks(scan, tmp_path)
    monkeypatch.setattr(hashing.metadata, "version", lambda _: "0")
    code_version.cache_clear()
    try:
        assert marks(scan, tmp_path).voxels != first.voxels
    finally:
        code_version.cache_clear()


def test_nothing_of_the_patient_is_in_the_cache(tmp_path: Path) -> None:
    cohort = tmp_path / "Cohort_of_Doe"
    table = write_small_cohort(cohort, 2, keys=["DOE_JOHN_1950", "ROE_JANE_1960"])
    table["study_day"] = 20261121
    result = extracted(cohort, table, cache=tmp_path / "cache")
    assert result.account.rows_computed == 8
    written = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert len(written) == 2 + 8
    for path in written:
        text = str(path.relative_to(tmp_path)) + path.read_text()
        for secret in ("doe", "roe", "john", "jane", "20261121", ".nii", str(tmp_path).lower(), "preoperative"):
            assert secret not in text.lower(), secret


def test_measurements_say_enough_about_the_regions(tmp_path: Path) -> None:
    """What is known of a scan from the cache names the very regions that reading it would."""
    table = write_small_cohort(tmp_path / "cohort", 1)
    fresh = extracted(tmp_path / "cohort", table, cache=tmp_path / "cache")
    assert fresh.features_lesion["lesion"].tolist() == [1, 2, 3]
    assert fresh.features_region["region"].tolist() == ["liver"]
    for file in files_of(tmp_path / "cache"):
        file.unlink()
    again = extracted(tmp_path / "cohort", table, cache=tmp_path / "cache")
    assert again.account.rows_computed == 4
    assert_same_tables(fresh, again)
