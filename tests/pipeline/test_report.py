"""The experiment report of a finished study, by its command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from radiomics_crlm.cli.app import run
from radiomics_crlm.provenance.tables import read_table

pytestmark = pytest.mark.xdist_group("small study")


def test_the_report_of_a_study_is_complete_and_repeatable(small_study: Path, tmp_path: Path) -> None:
    assert run(["report", str(small_study), "--to", str(tmp_path / "report")]) == 0
    assert run(["report", str(small_study)]) == 0
    made, own = tmp_path / "report", small_study / "report"
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(own) for p in own.rglob("*") if p.is_file())
    assert all((made / name).read_bytes() == (own / name).read_bytes() for name in files)
    shutil.rmtree(own)
    page = (made / "README.md").read_text(encoding="utf-8")
    for heading in ("Question", "Conclusion", "Participants and outcomes", "Design", "Sample size", "Cautions"):
        assert f"\n## {heading}\n" in page
    for kind in ("forest", "calibration", "decision", "importance"):
        assert f"](figures/recurrence_24m_{kind}.svg)" in page
    assert sorted(re.findall(r"figures/\w+\.svg", page)) == sorted(str(n) for n in files if n.suffix == ".svg")
    assert "Simulated data: these patients do not exist." in page
    texts = "".join((made / name).read_text(encoding="utf-8") for name in files)
    patients = read_table(small_study / "tables" / "clinical.parquet", "clinical")["patient_id"]
    assert not [key for key in patients if key in texts]
    assert str(small_study) not in texts


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path)]) == 3
    assert "record of the run is missing" in " ".join(capsys.readouterr().err.split())
