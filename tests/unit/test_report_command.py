"""Commands on what a run shows: opened where there is a browser, PDF where there are the libraries."""

from __future__ import annotations

import importlib
import io
import shutil
import webbrowser
from pathlib import Path
from types import ModuleType

import pytest
from run_folder import make_run_folder

from radiomics_crlm.cli.app import run
from radiomics_crlm.errors import InputError
from radiomics_crlm.report import page as page_module
from radiomics_crlm.report import write_card
from radiomics_crlm.report.card import write_card_pdf


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("made"), n=60, endpoints=("os",))


@pytest.fixture
def out(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose card is written without figures, which take most of the time."""
    monkeypatch.setattr(page_module, "_figures", lambda _: iter(()))
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.mark.parametrize("there", [True, False])
def test_card_is_opened_or_its_place_is_said(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: (asked.append(url), there)[1])
    assert run(["card", str(out), "--open"]) == 0
    assert asked == [(out / "card.html").as_uri()]
    assert ("no browser could be opened" in capsys.readouterr().out) is not there


def test_no_browser_unless_asked(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("opened"))
    assert run(["card", str(out)]) == 0
    assert run(["index", str(out), "--out", str(out / "i.html")]) == 0
    assert run(["checklists", str(out)]) == 0


@pytest.mark.parametrize("error", [ModuleNotFoundError("weasyprint"), OSError("cannot load library libpango-1.0")])
def test_pdf_without_its_libraries_is_wrong_usage(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> object:
        if name == "weasyprint":
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert run(["card", str(out), "--pdf"]) == 2
    said = capsys.readouterr().err
    assert "PDF needs" in said
    assert "libpango-1.0-0" in said or "radiomics_crlm[pdf]" in " ".join(said.split())
    assert not (out / "card.html").exists()


def test_pdf_of_a_run_without_card_is_refused(out: Path) -> None:
    with pytest.raises(InputError, match="the run has no card"):
        write_card_pdf(out)


def test_edited_file_is_told_until_the_checklists_are_filled_in_anew(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["checklists", str(out)]) == 0
    assert "changed since" not in capsys.readouterr().out
    path = out / "tables" / "metrics.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    assert run(["checklists", str(out)]) == 0
    assert "changed since they were filled in: tables/metrics.parquet" in capsys.readouterr().out
    assert run(["card", str(out)]) == 0
    assert "Evidence not available:</strong> changed since" in (out / "card.html").read_text(encoding="utf-8")
    assert run(["checklists", str(out), "--anew"]) == 0
    assert run(["checklists", str(out)]) == 0
    assert "changed since" not in capsys.readouterr().out.rpartition("points")[2]


def test_damaged_runs_are_counted_and_do_not_fail(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out.parent / "bad").mkdir()
    (out.parent / "bad" / "run.json").write_text("{", encoding="utf-8")
    assert run(["index", str(out.parent), "--out", str(out.parent / "i.html")]) == 0
    assert "2 runs, 1 not readable" in capsys.readouterr().out


@pytest.mark.slow
def test_card_as_pdf_has_its_text_and_figures_and_nothing_else(made: Path, tmp_path: Path, pypdf: ModuleType) -> None:
    copies = [Path(shutil.copytree(made, tmp_path / name)) for name in ("a", "b")]
    for copy in copies:
        write_card(copy)
        write_card_pdf(copy)
    first, second = ((copy / "card.pdf").read_bytes() for copy in copies)
    assert first == second
    reader = pypdf.PdfReader(io.BytesIO(first))
    assert dict(reader.metadata) == {"/Title": "Model card"}
    assert "/ID" not in reader.trailer
    assert reader.xmp_metadata is None
    text = "\n".join(page.extract_text() for page in reader.pages)
    for words in ("For research; a multidisciplinary team decides", "Decision curves", "Checklists", "Sign-off"):
        assert words in text
    assert "QX-" not in text
    # Figures are drawn as lines and not left out: their texts are paths, so curves are counted.
    curves = sum(page.get_contents().get_data().count(b" c\n") for page in reader.pages)
    assert curves > 1000
    assert b"http://" not in first.replace(b"http://www.w3.org", b"")
