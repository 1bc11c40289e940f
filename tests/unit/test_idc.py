"""Fetching a public cohort: selection against the shipped index, and a download that resumes, with a fake network."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from radiomics_crlm.cli.app import run
from radiomics_crlm.cohort import idc
from radiomics_crlm.cohort.idc import Pick, collection_layout, fetch_series, read_index, select_series
from radiomics_crlm.errors import ConfigError, InputError

COLLECTION = "colorectal_liver_metastases"


@pytest.fixture(scope="module")
def index() -> pd.DataFrame:
    pytest.importorskip("idc_index_data")
    return read_index(COLLECTION)


def test_the_shipped_index_gives_one_pair_per_patient(index: pd.DataFrame) -> None:
    picks = select_series(index, collection_layout(COLLECTION), ["expert"])
    kinds = pd.Series([p.kind for p in picks]).value_counts().to_dict()
    assert kinds == {"CT": 197, "expert": 197}
    pairs = pd.DataFrame([(p.patient, p.kind) for p in picks]).groupby(0)[1].agg(list)
    assert len(pairs) == 197
    assert all(pair == ["CT", "expert"] for pair in pairs)
    assert len({p.series for p in picks}) == 394
    assert sum(p.megabytes for p in picks) == pytest.approx(10909, abs=1)
    described = index.set_index("SeriesInstanceUID")["SeriesDescription"]
    assert {described[p.series] for p in picks if p.kind == "expert"} == {"Segmentation"}
    assert {p.licence for p in picks} == {"CC BY 4.0"}


def test_all_mask_sets(index: pd.DataFrame) -> None:
    picks = select_series(index, collection_layout(COLLECTION), ["expert", "ai", "corrected"])
    kinds = pd.Series([p.kind for p in picks]).value_counts().to_dict()
    assert kinds == {"CT": 197, "expert": 197, "ai": 197, "corrected": 27}
    assert len({p.series for p in picks}) == len(index)
    first = select_series(index, collection_layout(COLLECTION), ["corrected"], patients=2)
    assert [p.kind for p in first] == ["CT", "corrected"] * 2


def table(rows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "collection_id": COLLECTION,
                "PatientID": patient,
                "StudyInstanceUID": "1.2",
                "SeriesInstanceUID": series,
                "Modality": modality,
                "SeriesDescription": described,
                "instanceCount": 2,
                "series_size_MB": 2e-5,
                "license_short_name": "CC BY 4.0",
                "source_DOI": "10.1/x",
            }
            for patient, series, modality, described in rows
        ]
    )


PAIRS = [(f"P{k}", f"1.{k}.{n}", m, d) for k in (1, 2, 3) for n, m, d in ((1, "CT", "x"), (2, "SEG", "Segmentation"))]


def test_refusals() -> None:
    layout = collection_layout(COLLECTION)
    with pytest.raises(ConfigError, match=f"unknown collection; expected {COLLECTION}"):
        collection_layout("nlst")
    with pytest.raises(ConfigError, match="unknown mask set; expected expert, ai, corrected; got best"):
        select_series(table(PAIRS), layout, ["best"])
    with pytest.raises(ConfigError, match="at least 1"):
        select_series(table(PAIRS), layout, ["expert"], patients=0)
    with pytest.raises(InputError, match="several series of one kind"):
        select_series(table([*PAIRS, ("P1", "9", "CT", "x")]), layout, ["expert"])
    with pytest.raises(InputError, match="no folder name"):
        select_series(table([("../../x", s, m, d) for _, s, m, d in PAIRS[:2]]), layout, ["expert"])


def test_patients_without_a_pair_are_not_fetched() -> None:
    picks = select_series(table(PAIRS[:-1]), collection_layout(COLLECTION), ["expert"])
    assert [p.patient for p in picks] == ["P1", "P1", "P2", "P2"]


class FakeNetwork:
    """Writes the files of a series, breaks off where it is told to, and keeps what it was asked for."""

    def __init__(self, picks: Sequence[Pick], *, lost: str = "", cut: str = "") -> None:
        self.folders, self.asked, self.lost, self.cut = {p.series: p.folder for p in picks}, [], lost, cut

    def __call__(self, series: Sequence[str], out: Path) -> None:
        for one in series:
            self.asked.append(one)
            if one == self.lost:
                raise ConnectionError
            folder = out / self.folders[one]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "a.dcm").write_bytes(bytes(10))
            (folder / "b.dcm").write_bytes(bytes(0 if one == self.cut else 10))


def test_an_interrupted_fetch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    layout, seen = collection_layout(COLLECTION), []
    picks = select_series(table(PAIRS), layout, ["expert"])

    def fetch(network: FakeNetwork) -> int:
        return fetch_series(picks, layout, tmp_path, network, on_progress=lambda done, n: seen.append((done, n)))

    first = FakeNetwork(picks, lost="1.2.2")
    with pytest.raises(ConnectionError):
        fetch(first)
    assert first.asked == ["1.1.1", "1.1.2", "1.2.1", "1.2.2"]
    second = FakeNetwork(picks, cut="1.3.1")
    with pytest.raises(InputError, match="1 of 3 series"):
        fetch(second)
    assert second.asked == ["1.2.2", "1.3.1", "1.3.2"]
    third = FakeNetwork(picks)
    assert fetch(third) == 1
    assert third.asked == ["1.3.1"]
    assert fetch(FakeNetwork(picks, lost="anything")) == 0
    assert seen[-1] == (6, 6)
    licence = (tmp_path / COLLECTION / "LICENSE.txt").read_text()
    assert "CC BY 4.0" in licence
    assert "creativecommons.org/licenses/by/4.0" in licence
    citation = (tmp_path / COLLECTION / "CITATION.txt").read_text()
    assert "10.7937/QXK2-QG03" in citation
    assert "doi:10.1/x" in citation
    assert "zenodo" not in citation


def test_the_command_shows_sizes_and_wants_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(idc, "read_index", lambda _: table(PAIRS))
    layout = collection_layout(COLLECTION)
    network = FakeNetwork(select_series(table(PAIRS), layout, ["expert"]))
    monkeypatch.setattr(idc, "idc_downloader", lambda: network)
    command = ["fetch", "idc", "--collection", COLLECTION, "--out", str(tmp_path), "--patients", "2"]
    assert run(command) == 2
    shown = capsys.readouterr()
    assert "series to fetch: 4 of 4" in shown.out
    assert "GB" in shown.out
    assert "CC BY 4.0" in shown.out
    assert "--yes" in shown.err
    assert network.asked == []
    assert run([*command, "--yes"]) == 0
    assert "fetched: 4 series" in capsys.readouterr().out
    assert run(command) == 0  # all there: nothing to confirm
    assert "fetched: 0 series" in capsys.readouterr().out


def test_the_downloader_is_one_thin_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Client:
        @staticmethod
        def client() -> Client:
            return Client()

        def download_from_selection(self, **options: object) -> None:
            calls.append(options)

    monkeypatch.setattr(importlib, "import_module", lambda _: type("M", (), {"IDCClient": Client}))
    idc.idc_downloader()(("1.2", "1.3"), tmp_path)
    (options,) = calls
    assert options["seriesInstanceUID"] == ["1.2", "1.3"]
    assert options["downloadDir"] == str(tmp_path)
    assert options["dirTemplate"] == "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"


def test_the_call_fits_the_installed_client() -> None:
    module = pytest.importorskip("idc_index.index")
    code = module.IDCClient.download_from_selection.__code__
    assert {"downloadDir", "seriesInstanceUID", "dirTemplate", "show_progress_bar"} <= set(
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    )
    assert module.IDCClient.DOWNLOAD_HIERARCHY_DEFAULT == idc._FOLDERS


def test_nothing_imports_the_index_before_it_is_asked_for() -> None:
    code = (
        "import sys, radiomics_crlm.cli.app, radiomics_crlm.cohort.idc\n"
        "sys.exit(any(name.startswith('idc_index') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=r"optional extra 'fetch'.*pip install 'radiomics-crlm\[fetch\]'"):
        read_index(COLLECTION)
    with pytest.raises(ConfigError, match="extra 'fetch'"):
        idc.idc_downloader()
