"""Extraction of cohorts: the same tables whatever the jobs, the cache and the interruptions; faults cost themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_scans import PROFILE, assert_same_tables, extracted, small_scan, with_settings, write_small_cohort

from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.features import batch, extract, scan_tasks
from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.extract import PreparedScan, extract_scan, feature_names
from radiomics_crlm.features.parts import Region, RegionFeatures, part_names
from radiomics_crlm.features.resampling import needed_bytes
from radiomics_crlm.features.scan_tasks import ScanTask, extract_part, share_out
from radiomics_crlm.imaging.measurements import RING_MM
from radiomics_crlm.imaging.rings import tumour_surroundings
from radiomics_crlm.imaging.scan import load_scan, scans_of
from radiomics_crlm.parallel import Lost


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_small_cohort(folder, 3)
    return folder


def manifest(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "imaging.csv", dtype={"study_day": float})


def run(folder: Path, **more: Any) -> ExtractionResult:
    return extracted(folder, manifest(folder), **more)


@pytest.fixture(scope="module")
def whole(cohort: Path) -> ExtractionResult:
    """An uninterrupted run in one process, without a cache."""
    return run(cohort)


def entries(cache: Path, kind: str = "*") -> list[Path]:
    return sorted(cache.glob(f"v1/{kind}/*/*/*.json"))


def test_what_one_run_gives(whole: ExtractionResult) -> None:
    rows = whole.features_lesion
    assert rows["lesion"].tolist() == [1, 2, 3] * 3
    assert rows["patient_id"].tolist() == [p for p in ("P0", "P1", "P2") for _ in range(3)]
    assert rows["reason"].tolist() == ["", "", "one_voxel"] * 3
    assert whole.features_region["region"].tolist() == ["liver"] * 3
    assert (whole.features_region["status"] == "ok").all()
    assert whole.features_region.filter(like="region__").shape[1] == len(rows.filter(like="lesion__").columns)
    account = whole.account
    assert (account.scans, account.rows, account.rows_computed, account.rows_cached) == (3, 12, 12, 0)
    assert account.parts_computed == 9 * len(part_names(PROFILE))
    assert account.failed == {"one_voxel": 3}
    assert account.excluded == {}
    assert account.peak_memory_bytes is not None
    assert account.peak_memory_bytes > 2**26


def test_no_result_depends_on_jobs(cohort: Path, whole: ExtractionResult, tmp_path: Path) -> None:
    assert_same_tables(run(cohort, jobs=2), whole)
    cold = run(cohort, jobs=2, cache=tmp_path)
    assert_same_tables(cold, whole)
    assert cold.account.rows_computed == 12
    warm = run(cohort, jobs=2, cache=tmp_path)
    assert_same_tables(warm, whole)
    assert (warm.account.rows_computed, warm.account.rows_cached, warm.account.parts_computed) == (0, 12, 0)
    assert warm.account.failed == {"one_voxel": 3}


@pytest.mark.parametrize("cached", [False, True])
def test_one_scan_is_shared_by_several_workers(cohort: Path, tmp_path: Path, cached: bool) -> None:
    one = manifest(cohort).iloc[:2]
    alone = extracted(cohort, one)
    more = {"cache": tmp_path} if cached else {}
    assert_same_tables(extracted(cohort, one, jobs=2, **more), alone)
    if cached:  # what is left is shared, too
        for file in entries(tmp_path, "region")[1:]:
            file.unlink()
        again = extracted(cohort, one, jobs=2, **more)
        assert_same_tables(again, alone)
        assert (again.account.rows_cached, again.account.rows_computed) == (1, 3)


def test_a_finished_scan_is_not_read_again(
    cohort: Path, whole: ExtractionResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cohort, cache=tmp_path)
    for name in ("load_scan", "PreparedScan", "measure_lesions", "measure_scan", "check_loaded"):
        monkeypatch.setattr(scan_tasks, name, None)
    assert_same_tables(run(cohort, cache=tmp_path), whole)


@pytest.mark.parametrize("seed", range(4))
def test_any_part_of_a_cache_will_do(cohort: Path, whole: ExtractionResult, tmp_path: Path, seed: int) -> None:
    run(cohort, cache=tmp_path)
    rng = np.random.default_rng(seed)
    files = entries(tmp_path)
    gone = rng.permutation(len(files))[: int(rng.integers(1, len(files)))]
    for number in gone:
        files[number].unlink()
    again = run(cohort, cache=tmp_path, jobs=int(rng.integers(1, 3)))
    assert_same_tables(again, whole)
    assert again.account.rows_computed == sum("/region/" in str(files[number]) for number in gone)
    assert again.account.damaged_entries == 0
    assert run(cohort, cache=tmp_path).account.rows_cached == 12


def test_damaged_entries_are_counted_and_computed_again(cohort: Path, whole: ExtractionResult, tmp_path: Path) -> None:
    run(cohort, cache=tmp_path)
    regions, (scan, *_) = entries(tmp_path, "region"), entries(tmp_path, "scan")
    regions[0].write_bytes(regions[0].read_bytes()[:-20])
    regions[1].write_bytes(regions[1].read_bytes().replace(b"0", b"1"))
    regions[2].write_bytes(b"")
    scan.write_bytes(scan.read_bytes().replace(b'"version": 1', b'"version": 2'))
    again = run(cohort, cache=tmp_path)
    assert_same_tables(again, whole)
    assert again.account.rows_computed == 3
    assert again.account.damaged_entries == 4
    assert run(cohort, cache=tmp_path).account.damaged_entries == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """Parts that the engine is asked for, call by call."""
    calls: list[frozenset[str]] = []
    compute = extract._computed

    def noted(on_grid: Any, profile: Any, wanted: list[str], thin: bool) -> Any:
        calls.append(frozenset(wanted))
        return compute(on_grid, profile, wanted, thin)

    monkeypatch.setattr(extract, "_computed", noted)
    return calls


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"log_sigma_mm": (2.0, 1.0)}, {"log-sigma-1-0-mm-3D_firstorder", "log-sigma-1-0-mm-3D_glcm"}),
        ({"log_sigma_mm": None}, set()),
        (
            {"bin_width": 12.5},
            {f"{i}_{c}" for i in ("original", "log-sigma-2-0-mm-3D") for c in ("firstorder", "glcm")},
        ),
        ({"feature_classes": ("firstorder", "shape", "glcm", "gldm")}, {"original_gldm", "log-sigma-2-0-mm-3D_gldm"}),
    ],
)
def test_a_changed_setting_computes_only_what_depends_on_it(
    cohort: Path, tmp_path: Path, asked: list[frozenset[str]], changes: dict[str, Any], parts: set[str]
) -> None:
    run(cohort, cache=tmp_path)
    assert asked == [frozenset(part_names(PROFILE))] * 9  # nine of twelve regions are more than one voxel
    asked.clear()
    other = with_settings(**changes)
    partly = run(cohort, cache=tmp_path, profile=other)
    assert asked == [frozenset(parts)] * 9 * bool(parts)
    assert partly.account.parts_computed == 9 * len(parts)
    assert partly.account.parts_reused == 9 * (len(part_names(other)) - len(parts))
    assert_same_tables(partly, run(cohort, profile=other))
    asked.clear()
    assert_same_tables(run(cohort, cache=tmp_path, profile=other), partly)
    assert asked == []


def test_a_changed_mask_computes_its_scan_alone(tmp_path: Path) -> None:
    table = write_small_cohort(tmp_path / "cohort", 3)
    extracted(tmp_path / "cohort", table, cache=tmp_path / "cache")
    more = table.assign(mask_roles=table["mask_roles"].where(table.index != 2, "lesion=1,2,3"))
    again = extracted(tmp_path / "cohort", more, cache=tmp_path / "cache")
    assert (again.account.rows_cached, again.account.rows_computed) == (8, 4)


def test_organs_come_when_they_are_asked_for(cohort: Path, tmp_path: Path) -> None:
    lesions_only = with_settings(regions=("lesion",))
    first = run(cohort, cache=tmp_path, profile=lesions_only)
    assert first.features_region.empty
    assert first.account.rows == 9
    second = run(cohort, cache=tmp_path)
    assert (second.account.rows_cached, second.account.rows_computed) == (9, 3)
    assert second.account.parts_computed == 3 * len(part_names(PROFILE))
    assert len(second.features_region) == 3


def test_two_cohorts_share_a_cache(tmp_path: Path) -> None:
    one = write_small_cohort(tmp_path / "one", 2)
    extracted(tmp_path / "one", one, cache=tmp_path / "cache")
    other = write_small_cohort(tmp_path / "other", 3, keys=["X", "Y", "Z"])
    account = extracted(tmp_path / "other", other, cache=tmp_path / "cache").account
    assert (account.rows_cached, account.rows_computed) == (8, 4)


FAULTS: dict[str, Callable[[Path, pd.DataFrame], None]] = {
    "missing_file": lambda folder, _: (folder / "s1_image.nii.gz").unlink(),
    "unreadable_image": lambda folder, _: (folder / "s1_image.nii.gz").write_bytes(b"no image"),
    "path_outside": lambda _, table: table.__setitem__("image", table["image"].replace("s1_image.nii.gz", "../x.nrrd")),
    "no_profile": lambda _, table: table.__setitem__(
        "sequence", ["portal_venous"] * 2 + ["t"] * 2 + ["portal_venous"] * 2
    ),
    "bad_mask_roles": lambda _, table: table.__setitem__(
        "mask_roles", table["mask_roles"].mask(table.index == 2, "x=1")
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_scan_costs_itself_only(tmp_path: Path, whole: ExtractionResult, fault: str) -> None:
    folder = tmp_path / "cohort"
    table = write_small_cohort(folder, 3)
    FAULTS[fault](folder, table)
    plain = extracted(folder, table)
    assert plain.exclusions[["patient_id", "code"]].to_numpy().tolist() == [["P1", fault]]
    assert plain.account.excluded == {fault: 1}
    others = whole.features_lesion[whole.features_lesion["patient_id"] != "P1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain.features_lesion, others, check_exact=True)
    for _ in ("cold", "warm"):
        assert_same_tables(extracted(folder, table, cache=tmp_path / "cache"), plain)
    if fault == "unreadable_image":
        bad = table[table["patient_id"] == "P1"]
        assert_same_tables(extracted(folder, bad, jobs=2), extracted(folder, bad))


def test_a_scan_that_someone_writes_to_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_small_cohort(tmp_path / "cohort", 2)
    target = tmp_path / "cohort" / "s1_image.nii.gz"
    load = scan_tasks.load_scan

    def written_to(files: Any, root: Path) -> Any:
        found = load(files, root)
        if files.images[0] == target.name:
            os.utime(target, ns=(1, 1))
        return found

    monkeypatch.setattr(scan_tasks, "load_scan", written_to)
    result = extracted(tmp_path / "cohort", table, cache=tmp_path / "cache")
    assert result.exclusions["code"].tolist() == ["file_changed"]
    assert result.features_lesion["patient_id"].unique().tolist() == ["P0"]


class Hungry(PreparedScan):
    """Lesion 2 needs half a gibibyte beside the scan; without a bound, all there is and more."""

    def features(self, region: Region, known: Any = None) -> RegionFeatures:
        if region.label == 2 and self.max_bytes is None:
            raise MemoryError
        if region.label == 2 and self.max_bytes is not None and self.max_bytes < 2**29:
            return RegionFeatures(region, "failed", "too_large_for_memory")
        return super().features(region, known)


def test_a_region_that_is_too_large_costs_itself_only(
    cohort: Path, whole: ExtractionResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_tasks, "PreparedScan", Hungry)
    tight = run(cohort, cache=tmp_path, max_memory_gib=0.5)
    assert tight.account.failed == {"one_voxel": 3, "too_large_for_memory": 3}
    assert tight.account.max_memory_bytes == 2**29
    large = tight.features_lesion["lesion"] == 2
    assert tight.features_lesion.loc[large, "reason"].tolist() == ["too_large_for_memory"] * 3
    pd.testing.assert_frame_equal(tight.features_lesion[~large], whole.features_lesion[~large], check_exact=True)
    roomy = run(cohort, cache=tmp_path, max_memory_gib=4)
    assert_same_tables(roomy, whole)
    assert (roomy.account.rows_cached, roomy.account.rows_computed) == (9, 3)


def test_memory_that_runs_out_costs_the_region_only(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_tasks, "PreparedScan", Hungry)
    monkeypatch.setattr(batch, "_bound", lambda *_: None)
    assert run(cohort).account.failed == {"one_voxel": 3, "too_large_for_memory": 3}


def test_what_is_too_large_for_a_share_has_a_second_chance(
    cohort: Path, whole: ExtractionResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the memory for each of four workers; what needs more is done alone: jobs change no result."""
    monkeypatch.setattr(scan_tasks, "PreparedScan", Hungry)
    monkeypatch.setattr(batch, "workers", lambda *_: batch.Workers(4, 2 * 2**30, 2**29))
    monkeypatch.setattr(batch, "run", lambda function, tasks, **more: inline(function, tasks, more))
    result = run(cohort, jobs=4)
    assert_same_tables(result, whole)
    assert result.account.failed == {"one_voxel": 3}


def inline(
    function: Callable[[Any], Any], tasks: Any, more: Mapping[str, Any], lost: frozenset[int] = frozenset()
) -> Any:
    """Tasks in this process, some of which kill their workers."""
    for number, task in enumerate(tasks):
        result = Lost() if number in lost and function is extract_part else function(task)
        if more.get("on_done") is not None:
            more["on_done"](number, result)
        yield result


def test_a_scan_that_kills_its_workers_is_left_out(
    cohort: Path, whole: ExtractionResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "run", lambda f, tasks, **more: inline(f, tasks, more, frozenset({1})))
    result = run(cohort)
    assert result.exclusions["code"].tolist() == ["worker_lost"]
    assert result.exclusions["reason"].tolist() == ["CT/portal_venous: 3 workers died while they worked on the scan"]
    assert len(result.features_lesion) == 6


def test_other_code_on_a_worker_is_refused(cohort: Path) -> None:
    task = ScanTask(scans_of(manifest(cohort))[0], cohort, PROFILE, None, "other")
    with pytest.raises(ConfigError, match="another version of the extraction"):
        extract_part(task)


def test_a_region_that_gets_lost_on_the_way_is_noticed(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(task: ScanTask) -> Any:
        part = extract_part(task)
        part.features.popitem()
        return part

    monkeypatch.setattr(batch, "extract_part", forgetful)
    with pytest.raises(CrlmError, match="did not return the regions"):
        run(cohort)


def test_progress(cohort: Path, tmp_path: Path) -> None:
    scans: list[tuple[int, int]] = []
    regions: list[tuple[int, int]] = []
    watch = {"on_progress": lambda *tick: scans.append(tick), "on_regions": lambda *tick: regions.append(tick)}
    run(cohort, cache=tmp_path, **watch)
    assert scans == [(1, 3), (2, 3), (3, 3)]
    assert regions == [(4, 12), (8, 12), (12, 12)]
    (entries(tmp_path, "scan")[0]).unlink()
    scans.clear()
    run(cohort, cache=tmp_path, **watch)
    assert scans == [(1, 1)]  # only what has to be read
    assert extract_cohort(manifest(cohort).iloc[:0], cohort, {}).account.scans == 0


@given(
    st.dictionaries(st.integers(0, 99), st.integers(0, 10**6), max_size=12),
    st.integers(1, 5),
)
def test_work_is_shared_out_once_and_evenly(extents: dict[int, int], shares: int) -> None:
    bins = share_out(extents, shares)
    assert len(bins) == shares
    assert sorted(item for one in bins for item in one) == sorted(extents)
    loads = [sum(extents[item] for item in one) for one in bins]
    assert max(loads) - min(loads) <= max(extents.values(), default=0)
    for one in bins:
        assert [extents[item] for item in one] == sorted((extents[item] for item in one), reverse=True)


_TWO = """
import sys
from pathlib import Path
from small_scans import extracted
import pandas as pd

if __name__ == "__main__":
    cohort, cache, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    result = extracted(cohort, pd.read_csv(cohort / "imaging.csv", dtype={"study_day": float}), cache=cache, jobs=jobs)
    for name in ("features_lesion", "features_region", "lesions", "quality"):
        getattr(result, name).to_parquet(Path(sys.argv[4]) / f"{name}.parquet")
    print(result.account.rows, result.account.damaged_entries, result.account.not_stored)
"""


def test_two_runs_at_once_on_one_cache(cohort: Path, whole: ExtractionResult, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(_TWO))
    tests = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    started = []
    for number, jobs in enumerate(("1", "2")):
        out = tmp_path / f"out{number}"
        out.mkdir()
        command = [sys.executable, str(script), str(cohort), str(tmp_path / "cache"), jobs, str(out)]
        started.append((subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True), out))
    for process, out in started:
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert told.split() == ["12", "0", "0"]
        for name in ("features_lesion", "features_region", "lesions", "quality"):
            pd.testing.assert_frame_equal(
                pd.read_parquet(out / f"{name}.parquet"), getattr(whole, name), check_exact=True
            )
    assert list((tmp_path / "cache").rglob("unfinished/*")) == []
    assert run(cohort, cache=tmp_path / "cache").account.rows_cached == 12


def test_the_estimate_of_the_extraction_is_heeded(cohort: Path) -> None:
    """A worker's bound so tight that lesions fit and the liver does not."""
    plain = with_settings(log_sigma_mm=None)
    scan = load_scan(scans_of(manifest(cohort))[0], cohort)
    prepared = PreparedScan(scan.image, scan.lesions, plain, case="P0", anatomy=scan.anatomy)
    large, small = (
        needed_bytes(prepared._image, prepared._boxes[region], plain)
        for region in (Region("liver"), Region("lesion", 1))
    )
    assert large > small
    bound = scan_tasks._LIBRARIES_BYTES + scan.image.array.nbytes + (large + small) // 2
    tight = run(cohort, profile=plain, max_memory_gib=bound / 2**30)
    assert tight.account.failed == {"one_voxel": 3, "too_large_for_memory": 3}
    assert tight.features_region["reason"].tolist() == ["too_large_for_memory"] * 3
    pd.testing.assert_frame_equal(tight.features_lesion, run(cohort, profile=plain).features_lesion, check_exact=True)


def test_the_ring_is_a_region_with_the_values_of_its_mask(cohort: Path) -> None:
    """As if somebody had drawn the ring and called it a lesion."""
    profile = with_settings(regions=("lesion", "liver", "ring"))
    found = extracted(cohort, manifest(cohort), profile).features_region
    assert found["region"].tolist() == ["liver", "ring"] * 3
    image, lesions, anatomy = small_scan(0)
    ring = tumour_surroundings(lesions, RING_MM, liver=anatomy.array == 1)
    drawn = replace(lesions, array=ring.astype(np.uint8))
    expected = extract_scan(image, drawn, PROFILE, case="P0").iloc[0]
    row = found.iloc[1]
    names = feature_names(PROFILE, "region__")
    assert len(names) > 50
    for name in names:
        assert row[name] == expected[name.replace("region__", "lesion__")], name


def test_a_cache_without_the_ring_does_not_hide_it(cohort: Path, tmp_path: Path) -> None:
    profile = with_settings(regions=("lesion", "liver", "ring"))
    run(cohort, cache=tmp_path)
    both = extracted(cohort, manifest(cohort), profile, cache=tmp_path)
    assert_same_tables(both, extracted(cohort, manifest(cohort), profile))
    assert_same_tables(extracted(cohort, manifest(cohort), profile, cache=tmp_path, jobs=2), both)
    assert_same_tables(run(cohort, cache=tmp_path), run(cohort))


def test_without_a_liver_there_is_no_ring(cohort: Path) -> None:
    alone = manifest(cohort).query("mask_roles == 'lesion=*'")
    profile = with_settings(regions=("lesion", "ring"))
    assert extracted(cohort, alone, profile).features_region.empty
