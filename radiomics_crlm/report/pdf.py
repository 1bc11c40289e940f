"""A page as PDF, through the optional library WeasyPrint: nothing is fetched, the metadata of the file hold the title
alone, and the same page gives the same bytes.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from radiomics_crlm.errors import ConfigError, CrlmError
from radiomics_crlm.provenance.files import write_bytes

_INLINE = "data:image/"


def require_pdf() -> None:
    """Make sure that PDF can be written here.

    Raises
    ------
    ConfigError
        Saying whether the Python package or the system libraries below it are missing.
    """
    _weasyprint()


def write_pdf(html: str, path: Path, *, title: str) -> None:
    """Write a self-contained page as PDF, atomically.

    Parameters
    ----------
    html
        The page; all it needs is in it. Images may be ``data:`` addresses; any other address is refused.
    path
        File to write.
    title
        Title in the metadata of the file, in place of that of the page; no patient key belongs there.

    Raises
    ------
    ConfigError
        As :func:`require_pdf`.
    CrlmError
        If the page asks for something outside of itself.
    """
    library = _weasyprint()
    try:
        document = library.HTML(string=html, url_fetcher=_fetcher()).render()
    except _fatal() as error:
        raise CrlmError("the page asks for something outside of itself", where="PDF") from error
    document.metadata.title = title
    document.metadata.authors, document.metadata.keywords = [], []
    for name in ("description", "generator", "created", "modified"):
        setattr(document.metadata, name, None)
    document.metadata.custom = {}
    write_bytes(path, document.write_pdf(finisher=_unsigned))


def _unsigned(_: Any, pdf: Any) -> None:
    """Take the name of the program out of the metadata of a document that is being written."""
    pdf.info.pop("Producer", None)


def _weasyprint() -> Any:
    try:
        return importlib.import_module("weasyprint")
    except ModuleNotFoundError:
        raise ConfigError(
            "PDF needs the optional package WeasyPrint", remedy="pip install 'radiomics_crlm[pdf]'"
        ) from None
    except OSError:
        raise ConfigError(
            "PDF needs system libraries that are not installed",
            expected="Pango and HarfBuzz",
            remedy="on Debian install libpango-1.0-0, libpangoft2-1.0-0 and libharfbuzz-subset0; or print the page",
        ) from None


def _fatal() -> type[Exception]:
    found: type[Exception] = importlib.import_module("weasyprint.urls").FatalURLFetchingError
    return found


@functools.cache
def _fetcher() -> Any:
    """What WeasyPrint calls for every address in a page; all but inline images are refused."""
    urls = importlib.import_module("weasyprint.urls")

    class Refusing(urls.URLFetcher):  # type: ignore[name-defined]
        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.startswith(_INLINE):
                raise urls.FatalURLFetchingError("nothing outside of the page is fetched")
            return super().fetch(url, headers)

    return Refusing()
