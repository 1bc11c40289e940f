"""PDF: one file, the same bytes, nothing fetched, nothing in the metadata but the title."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType

import pytest

from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.report.pdf import require_pdf, write_pdf

PNG = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PAGE = (
    '<html lang="en"><head><title>Patient SECRET</title><meta name="author" content="SECRET">'
    '<meta name="description" content="SECRET"><meta name="x" content="SECRET">'
    '<meta name="dcterms.created" content="1955-01-01"></head><body>{}</body></html>'
)


def test_text_and_title(tmp_path: Path, pypdf: ModuleType) -> None:
    write_pdf(PAGE.format(f"<h1>Hello</h1><img src='{PNG}' alt=''>"), tmp_path / "a.pdf", title="Patient sheet")
    reader = pypdf.PdfReader(io.BytesIO((tmp_path / "a.pdf").read_bytes()))
    assert len(reader.pages) == 1
    assert "Hello" in reader.pages[0].extract_text()
    assert len(reader.pages[0].images) == 1
    assert reader.metadata["/Title"] == "Patient sheet"
    assert set(reader.metadata) == {"/Title"}
    assert "SECRET" not in str(reader.xmp_metadata)


def test_the_same_page_gives_the_same_bytes(tmp_path: Path, pypdf: ModuleType) -> None:
    for name in ("a", "b"):
        write_pdf(PAGE.format("<p>one</p>"), tmp_path / name, title="T")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "body",
    [
        "<img src='http://127.0.0.1:9/x.png'>",
        "<img src='file:///etc/hostname'>",
        "<link rel=stylesheet href='https://example.org/a.css'>",
        "<div style='background: url(file:///etc/hostname)'>x</div>",
        "<object data='data:text/html,hello'></object>",
    ],
)
def test_nothing_outside_of_the_page_is_fetched(tmp_path: Path, body: str, pypdf: ModuleType) -> None:
    with pytest.raises(CrlmError, match="something outside of itself"):
        write_pdf(PAGE.format(body), tmp_path / "a.pdf", title="T")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [(ModuleNotFoundError("weasyprint"), "optional package"), (OSError("libpango"), "system libraries")],
)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> object:
        if name == "weasyprint":
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=message):
        require_pdf()
