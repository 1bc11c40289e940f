"""Patient sheets of a scored cohort: one page per patient and an index, made again only where something changed.

The folder belongs to one bundle and one table of scores. A sheet that cannot be made costs itself. Each sheet is sealed
last, under a hash of all that decides it and with the hashes of its files: a run that was stopped goes on from there to
the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from radiomics_crlm import parallel
from radiomics_crlm.errors import InputError
from radiomics_crlm.features.fingerprint import digest, fingerprint
from radiomics_crlm.imaging.scan import ScanFiles
from radiomics_crlm.provenance.files import (
    canonical_json,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_text,
)
from radiomics_crlm.report.patient_sheet import Part, Pictures, build_patient_sheet, render_patient_sheet
from radiomics_crlm.report.pdf import require_pdf, write_pdf
from radiomics_crlm.report.sheet_index import index_entry, render_sheet_index
from radiomics_crlm.study.prepare import Progress
from radiomics_crlm.study.sheet_inputs import Case, Inputs, read_inputs
from radiomics_crlm.study.sheet_pictures import Album, find_scans, known_patients, take_pictures

_MARK, _SHEETS, _SEALS, _INDEX = ".crlm-sheets", "sheets", ".seals", "index.html"
_MADE, _KEPT, _FAILED = "made", "kept", "failed"


@dataclass(frozen=True)
class Failure:
    """A sheet that could not be made: key (None where the row has none), row, code and reason."""

    patient: str | None
    row: int | None
    code: str
    reason: str


@dataclass(frozen=True)
class SheetsResult:
    """Account of a run: sheets ``made`` and ``kept`` from before, those ``without_picture`` because a scan cannot be
    read, and ``failures``; ``page`` is the index of all sheets in the folder.
    """

    page: Path
    made: int
    kept: int
    without_picture: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Common:
    """What all sheets of a run share."""

    bundle: Mapping[str, Any]
    bundle_sha256: str
    cohort: Mapping[int, tuple[float, ...]]
    shifted: tuple[str, ...]
    root: Path
    out: Path
    simulated: bool
    pdf: bool


@dataclass(frozen=True)
class _Task:
    """One sheet to make: its row, the scans to show or why there are none."""

    case: Case
    scans: tuple[ScanFiles, ...]
    why_none: str
    common: _Common


@dataclass(frozen=True)
class _Done:
    state: str
    unread: bool = False
    failure: Failure | None = None


def write_sheets(
    bundle: Path,
    cohort: Path,
    scores: Path,
    out: Path,
    *,
    patients: Sequence[str] = (),
    pdf: bool = False,
    jobs: int = 1,
    progress: Progress,
) -> SheetsResult:
    """Write ``sheets/NAME.html`` and ``.json`` (and ``.pdf``) per row of the scores, and ``index.html``.

    Parameters
    ----------
    bundle, cohort, scores
        Folder of the bundle, of the cohort it scored, and of the scores.
    out
        New folder, or one with sheets of the same scores.
    patients
        Keys of the patients wanted; empty: all.
    pdf
        Also write each sheet as PDF (one A4 page).
    jobs
        Processes; the result does not depend on it.
    progress
        Callback ``(stage, done, total)``.

    Raises
    ------
    InputError
        If an input is unusable as a whole, the scores are of another bundle, none of the patients is known, or ``out``
        holds something else.
    ConfigError
        If PDF is asked for and cannot be made here.
    OSError
        If ``out`` cannot be written; finished sheets are kept.
    """
    if pdf:
        require_pdf()
    inputs = read_inputs(bundle, cohort, scores, patients)
    _claim(out, inputs)
    content = inputs.bundle.content
    kinds = [str(block.scans) for block in content.sources]
    album = find_scans(cohort, known_patients([case.patient for case in inputs.cases]), kinds, content.speaks_at)
    common = _Common(
        bundle=content.model_dump(mode="json"),
        bundle_sha256=inputs.bundle.sha256,
        cohort=inputs.cohort,
        shifted=inputs.shifted,
        root=cohort,
        out=out,
        simulated=(cohort / "truth.json").is_file(),
        pdf=pdf,
    )
    done = _run(inputs.cases, album, common, jobs, progress)
    write_text(out / _INDEX, render_sheet_index(_entries(out), _about(common)))
    unknown = (Failure(key, None, "unknown_patient", "the scores have no such patient") for key in inputs.unknown)
    return SheetsResult(
        page=out / _INDEX,
        made=sum(one.state == _MADE for one in done),
        kept=sum(one.state == _KEPT for one in done),
        without_picture=sum(one.unread for one in done),
        failures=(*(one.failure for one in done if one.failure is not None), *unknown),
    )


def _run(cases: Sequence[Case], album: Album, common: _Common, jobs: int, progress: Progress) -> list[_Done]:
    tasks = [_Task(case, album.of(case.patient), album.why_none(case.patient), common) for case in cases]
    done: list[_Done] = []
    for case, one in zip(cases, parallel.run(_sheet, tasks, jobs=jobs), strict=True):
        done.append(_lost(case) if isinstance(one, parallel.Lost) else one)
        progress("sheet", len(done), len(cases))
    return done


def _lost(case: Case) -> _Done:
    """The sheet of a patient at whom every worker died."""
    row = int(case.score["row"])
    return _Done(_FAILED, failure=Failure(case.patient, row, "worker_died", "the process that drew it died each time"))


def _claim(out: Path, inputs: Inputs) -> None:
    """The folder is for sheets of one bundle and one table of scores; it says which."""
    mark = {"bundle_sha256": inputs.bundle.sha256, "scores_sha256": inputs.scores_sha256}
    path = out / _MARK
    if path.is_file():
        if dict(read_json(path, what="mark of the folder of sheets")) != mark:
            raise InputError("the out folder holds sheets of other scores", remedy="name another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("the out folder holds something that is no patient sheet", remedy="name another folder")
    write_text(path, canonical_json(mark) + "\n")
    for folder in (out / _SHEETS, out / _SEALS):
        for torn in folder.glob(".*"):  # of a run that was killed while it wrote
            torn.unlink(missing_ok=True)


def _sheet(task: _Task) -> _Done:
    """Make, or keep, the sheet of one row."""
    case, scans, why_none, common = task.case, task.scans, task.why_none, task.common
    row = int(case.score["row"])
    if case.problem is not None:
        _remove(common.out, case.stem)
        return _Done(_FAILED, failure=Failure(case.patient, row, *case.problem))
    try:
        bare = _build(case, Pictures(absent=why_none), common)
    except InputError as error:
        _remove(common.out, case.stem)
        return _Done(_FAILED, failure=Failure(case.patient, row, "attributions", error.what))
    prints = [[*files.key, getattr(fingerprint(files, common.root), "scan", None)] for files in scans]
    made_from = digest([_code(), bare, prints])
    seal = _sealed(common, case.stem, made_from)
    if seal is not None:
        return _Done(_KEPT, bool(seal["unread"]))
    pictures, failed = take_pictures(scans, common.root, why_none)
    _write(case.stem, _build(case, pictures, common), pictures, made_from, common, unread=bool(failed))
    return _Done(_MADE, bool(failed))


def _build(case: Case, pictures: Pictures, common: _Common) -> Part:
    return build_patient_sheet(
        case.score,
        common.bundle,
        bundle_sha256=common.bundle_sha256,
        rules=case.rules if isinstance(case.rules, str) else [dict(part) for part in case.rules],
        explained=case.explained,
        cohort=common.cohort,
        pictures=pictures,
        simulated=common.simulated,
        shifted=common.shifted,
    )


def _write(stem: str, sheet: Part, pictures: Pictures, made_from: str, common: _Common, *, unread: bool) -> None:
    """The files of a sheet, and last its seal."""
    folder = common.out / _SHEETS
    page = render_patient_sheet(sheet, pictures.png)
    files = {
        f"{stem}.html": page.encode("utf-8"),
        f"{stem}.json": (canonical_json(sheet) + "\n").encode("utf-8"),
    }
    for name, data in files.items():
        write_bytes(folder / name, data)
    hashes = {name: sha256_bytes(data) for name, data in files.items()}
    if common.pdf:
        write_pdf(page, folder / f"{stem}.pdf", title="Patient sheet")
        hashes[f"{stem}.pdf"] = sha256_file(folder / f"{stem}.pdf")
    seal = {"made_from": made_from, "files": hashes, "unread": unread, "entry": index_entry(sheet, stem)}
    write_text(common.out / _SEALS / f"{stem}.json", canonical_json(seal) + "\n")


def _sealed(common: _Common, stem: str, made_from: str) -> Mapping[str, Any] | None:
    """The seal of a sheet that is there, whole, and of the same content; else None."""
    path = common.out / _SEALS / f"{stem}.json"
    if not path.is_file():
        return None
    try:
        seal = read_json(path, what="seal of a sheet")
    except InputError:
        return None
    wanted = {f"{stem}.html", f"{stem}.json", *([f"{stem}.pdf"] if common.pdf else [])}
    files = seal.get("files", {})
    if seal.get("made_from") != made_from or not wanted <= set(files):
        return None
    folder = common.out / _SHEETS
    whole = all((folder / name).is_file() and sha256_file(folder / name) == files[name] for name in wanted)
    return seal if whole else None


def _remove(out: Path, stem: str) -> None:
    """Take away a sheet of before that would contradict the reason why there is none now."""
    (out / _SEALS / f"{stem}.json").unlink(missing_ok=True)
    for suffix in ("html", "json", "pdf"):
        (out / _SHEETS / f"{stem}.{suffix}").unlink(missing_ok=True)


def _entries(out: Path) -> list[Mapping[str, Any]]:
    """Entries of all sheets in the folder, in the order of the scores."""
    seals = [read_json(path, what="seal of a sheet") for path in sorted((out / _SEALS).glob("*.json"))]
    return sorted((seal["entry"] for seal in seals), key=lambda entry: (entry["row"], entry["file"]))


def _about(common: _Common) -> Part:
    return {"title": common.bundle["title"], "event": common.bundle["definition"]["title"]}


@functools.cache
def _code() -> str:
    """Hash of the code that sheets depend on, so that no change of theirs can be forgotten."""
    root = resources.files("radiomics_crlm.report")
    places = (root, root / "templates")
    named = {f.name: sha256_bytes(f.read_bytes()) for place in places for f in place.iterdir() if f.is_file()}
    return digest(named)
