"""Fetch a public cohort from the Imaging Data Commons: choose series from its index, and download what is missing.

The index and the download come from the optional package ``idc-index``. Nothing here touches the network but the one
call in `idc_downloader`.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.resources import shipped_yaml

LAYOUTS = ("tcia_crlm_images",)
_FOLDERS = "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
_COLUMNS = [
    "collection_id",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "instanceCount",
    "series_size_MB",
    "license_short_name",
    "source_DOI",
]

Downloader = Callable[[Sequence[str], Path], None]
"""Downloads series (by their UID) into a folder, below it by collection, patient, study and series."""


@dataclass(frozen=True)
class Pick:
    """One series to fetch: what it is (``CT`` or the name of a mask set), where it goes, and how large it is."""

    patient: str
    series: str
    kind: str
    folder: Path
    files: int
    megabytes: float
    licence: str
    doi: str

    def complete(self, out: Path) -> bool:
        """Whether all files of the series are there and none is empty."""
        folder = out / self.folder
        found = [p for p in folder.glob("*.dcm") if p.is_file()] if folder.is_dir() else []
        size = sum(p.stat().st_size for p in found)
        return len(found) == self.files and all(p.stat().st_size for p in found) and size >= 0.99e6 * self.megabytes


def collection_layout(collection: str) -> Mapping[str, Any]:
    """The shipped description of a collection.

    Raises
    ------
    ConfigError
        If there is none, listing the known ones.
    """
    known = {layout["collection"]: layout for layout in (shipped_yaml(f"configs/layouts/{n}.yaml") for n in LAYOUTS)}
    if collection not in known:
        raise ConfigError("unknown collection", expected=", ".join(sorted(known)), got=repr(collection))
    return known[collection]


def read_index(collection: str) -> pd.DataFrame:
    """All series of a collection, from the index that ships with the package ``idc-index-data``.

    Raises
    ------
    ConfigError
        If the optional extra ``fetch`` is not installed, or the index lacks the collection.
    """
    path = _optional("idc_index_data").IDC_INDEX_PARQUET_FILEPATH
    table = pd.read_parquet(path, columns=_COLUMNS, filters=[("collection_id", "==", collection)])
    if table.empty:
        raise ConfigError("the index has no such collection", got=repr(collection), remedy="update idc-index")
    return table


def select_series(
    index: pd.DataFrame, layout: Mapping[str, Any], mask_sets: Iterable[str], *, patients: int | None = None
) -> list[Pick]:
    """The CT and the masks of every patient: one CT, and at most one segmentation of each mask set.

    Parameters
    ----------
    index
        Rows of the index (`read_index`).
    layout
        Description of the collection (`collection_layout`).
    mask_sets
        Names of mask sets; a patient must have the first one, the others are taken where they exist.
    patients
        Take the first so many patients in the order of their keys.

    Raises
    ------
    ConfigError
        For an unknown mask set or a number of patients below 1.
    InputError
        If a patient has several series of one kind.
    """
    wanted = list(dict.fromkeys(mask_sets))
    unknown = [name for name in wanted if name not in layout["mask_sets"]]
    if unknown or not wanted:
        raise ConfigError("unknown mask set", expected=", ".join(layout["mask_sets"]), got=", ".join(unknown))
    if patients is not None and patients < 1:
        raise ConfigError("the number of patients must be at least 1", got=str(patients))
    kinds = index.apply(lambda row: _kind(row, layout, wanted), axis=1)
    chosen = index.assign(kind=kinds)[kinds != ""]
    repeated = chosen.duplicated(["PatientID", "kind"])
    if repeated.any():
        raise InputError(
            "patients of the collection have several series of one kind",
            expected="one CT and one segmentation of each mask set per patient",
            got=f"{int(repeated.sum())} series too many",
        )
    both = set(chosen.loc[chosen["kind"] == "CT", "PatientID"]) & set(
        chosen.loc[chosen["kind"] == wanted[0], "PatientID"]
    )
    keys = sorted(both)[:patients]
    order = {kind: k for k, kind in enumerate(["CT", *wanted])}
    rows = sorted(
        (row for row in chosen.to_dict("records") if row["PatientID"] in set(keys)),
        key=lambda row: (row["PatientID"], order[row["kind"]]),
    )
    return [_pick(row) for row in rows]


def _kind(row: pd.Series, layout: Mapping[str, Any], mask_sets: Iterable[str]) -> str:
    """``CT``, the name of a mask set, or empty."""
    if row["Modality"] == layout["scan"]["modality"]:
        return "CT"
    if row["Modality"] != "SEG":
        return ""
    described = str(row["SeriesDescription"])
    fits = [m for m in mask_sets if fnmatch.fnmatchcase(described, layout["mask_sets"][m]["description"])]
    return fits[0] if fits else ""


def _pick(row: Mapping[Any, Any]) -> Pick:
    parts = [str(row[k]) for k in ("collection_id", "PatientID", "StudyInstanceUID")]
    parts.append(f"{row['Modality']}_{row['SeriesInstanceUID']}")
    if any(not part or "/" in part or "\\" in part or part in (".", "..") for part in parts):
        raise InputError(
            "the index names a patient or series that is no folder name",
            expected="names without / and \\ and not . or ..",
        )
    return Pick(
        patient=parts[1],
        series=str(row["SeriesInstanceUID"]),
        kind=row["kind"],
        folder=Path(*parts),
        files=int(row["instanceCount"]),
        megabytes=float(row["series_size_MB"]),
        licence=str(row["license_short_name"]),
        doi=str(row["source_DOI"]),
    )


def fetch_series(
    picks: Sequence[Pick],
    layout: Mapping[str, Any],
    out: Path,
    download: Downloader,
    *,
    on_progress: Callable[[int, int], None],
) -> int:
    """Download the series that are not complete yet, patient by patient, and write licence and citation beside them.

    A fetch that was interrupted goes on where it stopped: complete series are not asked for again.

    Returns
    -------
    int
        Number of series downloaded.

    Raises
    ------
    InputError
        If a series is still incomplete after its download.
    """
    write_notices(picks, layout, out)
    missing = [pick for pick in picks if not pick.complete(out)]
    by_patient: dict[str, list[Pick]] = {}
    for pick in missing:
        by_patient.setdefault(pick.patient, []).append(pick)
    done = len(picks) - len(missing)
    failed = 0
    for group in by_patient.values():
        on_progress(done, len(picks))
        download([pick.series for pick in group], out)
        failed += sum(not pick.complete(out) for pick in group)
        done += len(group)
    on_progress(done, len(picks))
    if failed:
        raise InputError(
            "some series did not arrive completely",
            got=f"{failed} of {len(missing)} series",
            remedy="run the same command again; complete series are not downloaded twice",
        )
    return len(missing)


def write_notices(picks: Sequence[Pick], layout: Mapping[str, Any], out: Path) -> None:
    """Write ``LICENSE.txt`` and ``CITATION.txt`` into the folder of the collection."""
    folder = out / layout["collection"]
    licences = ", ".join(sorted({pick.licence for pick in picks}))
    kinds = {pick.kind for pick in picks}
    texts = [
        *layout["citations"],
        *dict.fromkeys(m["citation"] for name, m in layout["mask_sets"].items() if name in kinds and "citation" in m),
    ]
    sources = sorted({pick.doi for pick in picks})
    write_text(
        folder / "LICENSE.txt",
        f"{layout['name']}: licence {licences} according to the index of the Imaging Data Commons.\n"
        f"Terms: {layout['licence_url']}\nUse the data with attribution; do not try to identify anybody.\n",
    )
    write_text(
        folder / "CITATION.txt",
        "\n".join([*texts, "Sources of the series: " + ", ".join(f"doi:{doi}" for doi in sources)]) + "\n",
    )


def idc_downloader() -> Downloader:
    """Downloads through ``idc-index`` (no account; from the public buckets of the Imaging Data Commons).

    Raises
    ------
    ConfigError
        If the optional extra ``fetch`` is not installed.
    """
    client = _optional("idc_index.index").IDCClient.client()

    def download(series: Sequence[str], out: Path) -> None:
        client.download_from_selection(
            downloadDir=str(out), seriesInstanceUID=list(series), dirTemplate=_FOLDERS, show_progress_bar=False
        )

    return download


def _optional(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            "fetching needs the optional extra 'fetch', which is not installed",
            remedy="install it with: pip install 'radiomics-crlm[fetch]'",
        ) from None
