"""Batch scoring: every row that comes in goes out, scored or abstained with a reason.

Rows are computed one by one in effect: a patient's numbers do not depend on who else is in the table, on the number of
workers, nor on where a killed run was resumed. The table is read, scored and written block by block.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import radiomics_crlm
from radiomics_crlm import parallel
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, sha256_file, write_json
from radiomics_crlm.provenance.locks import LOCK, alone
from radiomics_crlm.provenance.tables import table_digest
from radiomics_crlm.provenance.unfinished import remove_leftovers
from radiomics_crlm.provenance.versions import versions
from radiomics_crlm.scoring.admission import FIRST_ROW, Imaging, check_cohort
from radiomics_crlm.scoring.bundle import Bundle
from radiomics_crlm.scoring.outputs import SPREADSHEET, TABLE, write_outputs
from radiomics_crlm.scoring.parts import Part, Parts, finish
from radiomics_crlm.scoring.rows import Account, Block, column_names
from radiomics_crlm.scoring.shift import shift_report
from radiomics_crlm.scoring.source import Frame, Keys, Source, patient_keys, survey

SUMMARY, UNFINISHED = "summary.json", ".unfinished"
BLOCK = 50_000
"""Rows that are scored at a time."""
_RUN, _PARTS = "run.json", "parts"
# Dask takes over all tasks that it is given, with their rows; this many per worker keep it busy.
_PER_WORKER = 4
_LIBRARIES = ("numpy", "pandas", "xgboost-cpu")


@dataclass(frozen=True)
class ScoreSummary:
    """Account of a batch: ``rows`` in = ``scored`` + ``abstained``.

    ``abstentions`` counts rows by reason code and ``flags`` by flag; ``resumed`` rows were taken over from an
    interrupted or finished run; ``absent_inputs`` are clinical inputs that the table does not have at all;
    ``base_value`` is where the attributions of each row start (None without attributions); ``shift`` is the comparison
    of the cohort with the training data (:func:`radiomics_crlm.scoring.shift.shift_report`).
    """

    rows: int
    scored: int
    abstained: int
    abstentions: Mapping[str, int]
    flags: Mapping[str, int]
    resumed: int
    absent_inputs: tuple[str, ...]
    bundle_sha256: str
    input_sha256: str
    base_value: float | None
    shift: Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """How a batch is done: processes on this machine, or address of a Dask scheduler; whether SHAP values of each row
    are written; called with (rows done, rows in all); rows of a block, on which the row groups of the Parquet files
    depend and nothing else."""

    jobs: int = 1
    dask: str | None = None
    attributions: bool = False
    on_progress: Callable[[int, int], None] | None = None
    block: int = BLOCK


def score_cohort(
    bundle: Bundle,
    clinical_raw: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    out: Path,
    *,
    notes: CohortNotes | None = None,
    features_lesion: pd.DataFrame | None = None,
    exclusions: pd.DataFrame | None = None,
    options: Options | None = None,
) -> ScoreSummary:
    """Score every row of a clinical table in memory; see :func:`score_source`.

    Parameters
    ----------
    clinical_raw
        Raw clinical table (:func:`radiomics_crlm.provenance.tables.read_raw`).
    features_patient, features_lesion
        Radiomics of the cohort, for bundles that need them; ``features_lesion`` says how they were extracted.
    exclusions
        Scans that yielded nothing, to name them in the reason.
    """
    imaging = Imaging(features_patient, features_lesion, exclusions)
    return score_source(bundle, Frame(clinical_raw), out, imaging=imaging, notes=notes, options=options)


def score_source(
    bundle: Bundle,
    source: Source,
    out: Path,
    *,
    imaging: Imaging | None = None,
    notes: CohortNotes | None = None,
    options: Options | None = None,
) -> ScoreSummary:
    """Score every row of a clinical table.

    Parameters
    ----------
    bundle
        The model.
    source
        Raw clinical table; each bad row becomes an abstention.
    out
        Folder for ``scores.parquet``, ``scores.csv``, ``summary.json`` and, if they are asked for,
        ``attributions.parquet``. A run that was killed goes on there; one that was finished is left as it is.
    imaging
        Radiomics of the cohort, for bundles that need them.
    notes
        ``cohort.yaml`` of the cohort.
    options
        Workers, attributions, progress.

    Returns
    -------
    The account. The same bundle, tables and choice of attributions give the same bytes, however many workers there are,
    and whether interrupted or not.

    Raises
    ------
    InputError
        For faults of a whole table, or an output folder that holds other scores or is being worked on.
    LeakError
        If the cohort knows an input only after the model speaks.
    CrlmError
        If workers died again and again.
    OSError
        If the output cannot be written. Either way what was computed is kept.
    """
    batch = _Batch(bundle, source, out, imaging or Imaging(), notes or CohortNotes(), options or Options())
    return batch.run()


class _Batch:
    """One run of :func:`score_source`."""

    def __init__(
        self, bundle: Bundle, source: Source, out: Path, imaging: Imaging, notes: CohortNotes, options: Options
    ) -> None:
        self._bundle, self._source, self._out = bundle, source, out
        self._imaging, self._notes, self._options = imaging, notes, options
        self._folder = out / UNFINISHED

    def run(self) -> ScoreSummary:
        head = next(self._source.blocks(1))
        absent = check_cohort(self._bundle.content, head, self._imaging, self._notes)
        identity = self._identity()
        if (finished := _finished(self._out, identity)) is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return _summary(finished, resumed=finished["rows"])
        keys = survey(self._source, self._notes)
        with _work(self._out, identity):
            parts = Parts(self._folder / _PARTS, identity)
            resumed, account = self._score(parts, keys)
            self._source.check_unchanged()
            content = self._content(identity, account, absent)
            tables = write_outputs(self._read(parts, len(keys)), self._folder, self._names())
            content["files"] = {path.name: sha256_file(path) for path in tables}
            for path in tables:
                path.replace(self._out / path.name)
            write_json(self._out / SUMMARY, content)
        return _summary(content, resumed=resumed)

    def _identity(self) -> dict[str, Any]:
        """All that decides the output."""
        tables = (self._imaging.features_patient, self._imaging.features_lesion, self._imaging.exclusions)
        others = ["" if table is None else table_digest(table) for table in tables]
        described = [self._source.digest(), *others, self._notes.model_dump(mode="json")]
        known = versions()
        return {
            "program": radiomics_crlm.__version__,
            "libraries": {name: known[name] for name in _LIBRARIES},
            "bundle_sha256": self._bundle.sha256,
            "input_sha256": sha256_bytes(canonical_json(described).encode("utf-8")),
            "attributions": self._options.attributions,
            "block": self._options.block,
        }

    def _names(self) -> list[str]:
        return column_names(self._bundle, self._options.attributions)

    def _spans(self, rows: int) -> Iterator[tuple[int, int]]:
        for start in range(0, rows, self._options.block):
            yield start, min(start + self._options.block, rows)

    def _score(self, parts: Parts, keys: Keys) -> tuple[int, Account]:
        """Compute the blocks that are not there yet; number of rows that were, and the account of all."""
        accounts: dict[int, Account] = {}
        for start, stop in self._spans(len(keys)):
            if (part := parts.get(start, stop)) is not None:
                accounts[start] = part.account
        resumed = done = sum(account.rows for account in accounts.values())
        missing = [span for span in self._spans(len(keys)) if span[0] not in accounts]
        lost: list[tuple[int, int]] = []
        self._say(done, len(keys))
        for span, made in self._computed(missing, keys):
            if isinstance(made, parallel.Lost):
                lost.append(span)
                continue
            parts.put(*span, made)
            accounts[span[0]] = made.account
            done += made.account.rows
            self._say(done, len(keys))
        if lost:
            first, last = lost[0]
            raise CrlmError(
                f"{len(lost)} blocks of rows were given up: their workers died each time",
                where=f"rows {first + FIRST_ROW} to {last + FIRST_ROW - 1}",
                remedy="give them more memory and repeat the command: all other rows are kept",
            )
        return resumed, sum((accounts[start] for start, _ in self._spans(len(keys))), Account())

    def _say(self, done: int, total: int) -> None:
        if self._options.on_progress is not None:
            self._options.on_progress(done, total)

    def _computed(
        self, spans: list[tuple[int, int]], keys: Keys
    ) -> Iterator[tuple[tuple[int, int], Part | parallel.Lost]]:
        """Blocks as soon as they are done."""
        options = self._options
        tasks = self._tasks({start for start, _ in spans}, keys)
        if options.dask is None:
            jobs = min(options.jobs, max(1, len(spans)))
            yield from zip(spans, parallel.run(finish, tasks, jobs=jobs), strict=True)
            return
        ahead, width = iter(spans), _PER_WORKER * parallel.workers(1, options.dask).count
        while window := list(itertools.islice(ahead, width)):
            found = parallel.run(finish, itertools.islice(tasks, len(window)), dask=options.dask)
            yield from zip(window, found, strict=True)

    def _tasks(self, starts: set[int], keys: Keys) -> Iterator[Block]:
        """The blocks that begin at these rows."""
        position, last = 0, max(starts, default=-1)
        for raw in self._source.blocks(self._options.block) if starts else ():
            start, position = position, position + len(raw)
            repeated = keys.of_block(start, len(raw))
            if start in starts:
                imaging = self._imaging
                if self._bundle.content.needs_radiomics:
                    imaging = imaging.of(patient_keys(raw, self._notes))
                yield Block(
                    self._bundle, self._notes, raw, start, repeated, imaging, attributions=self._options.attributions
                )
            if start >= last:
                return

    def _read(self, parts: Parts, rows: int) -> Iterator[Part]:
        """All parts in order."""
        for start, stop in self._spans(rows):
            part = parts.get(start, stop)
            if part is None:
                raise CrlmError(
                    "a finished block of rows was damaged before it could be written out",
                    where=f"rows {start + FIRST_ROW} to {stop + FIRST_ROW - 1}",
                    remedy="repeat the command: this block is computed again",
                )
            yield part

    def _content(self, identity: Mapping[str, Any], account: Account, absent: Iterable[str]) -> dict[str, Any]:
        """``summary.json`` but for the hashes of the tables."""
        content = self._bundle.content
        abstained = sum(account.codes.values())
        return {
            "identity": dict(identity),
            "endpoint": content.endpoint,
            "model": content.model,
            "rows": account.rows,
            "scored": account.rows - abstained,
            "abstained": abstained,
            "abstentions": dict(sorted(account.codes.items())),
            "flags": dict(sorted(account.flags.items())),
            "absent_inputs": list(absent),
            "base_value": account.base,
            "shift": shift_report(content, account.tally).to_json(),
        }


def _summary(content: Mapping[str, Any], *, resumed: int) -> ScoreSummary:
    identity = content["identity"]
    return ScoreSummary(
        rows=content["rows"],
        scored=content["scored"],
        abstained=content["abstained"],
        abstentions=content["abstentions"],
        flags=content["flags"],
        resumed=resumed,
        absent_inputs=tuple(content["absent_inputs"]),
        bundle_sha256=identity["bundle_sha256"],
        input_sha256=identity["input_sha256"],
        base_value=content["base_value"],
        shift=content["shift"],
    )


def _foreign() -> InputError:
    return InputError(
        "the output folder holds the scores of another bundle, input or version, or made with other options",
        where=SUMMARY,
        remedy="choose an empty output folder",
    )


def _finished(out: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of this very run, if it is finished and nothing was changed since; other scores are refused."""
    try:
        found = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        theirs, files = found["identity"], dict(found["files"])
    except (FileNotFoundError, NotADirectoryError):
        if not (out / UNFINISHED).is_dir() and any((out / name).exists() for name in (TABLE, SPREADSHEET)):
            raise _foreign() from None
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise _foreign() from None
    if theirs != identity:
        raise _foreign()
    intact = all((out / name).is_file() and sha256_file(out / name) == sha for name, sha in files.items())
    return dict(found) if intact else None


@contextmanager
def _work(out: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Work on an output folder, alone; what is unfinished stays there until all is written."""
    folder = out / UNFINISHED
    with alone(folder):
        remove_leftovers(out, depth=0)
        remove_leftovers(folder)
        fresh = _enter(folder, identity)
        try:
            yield
        except InputError:
            if fresh:  # a table that has to be corrected is another table
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _enter(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether this run begins here; another one that has finished blocks is refused."""
    path = folder / _RUN
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        theirs = None
    if theirs == identity:
        return False
    others = {entry.name for entry in folder.iterdir()} - {LOCK, _RUN, _PARTS}
    if others or any((folder / _PARTS).glob("*")):
        raise _foreign()
    write_json(path, dict(identity))
    return True
