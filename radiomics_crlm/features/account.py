"""Account of an extraction: what was computed, what came from the cache, what failed, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from radiomics_crlm.features.parts import RegionFeatures
from radiomics_crlm.features.scan_tasks import Part


@dataclass
class Tally:
    """Sums over the parts that workers return."""

    computed: int = 0
    reused: int = 0
    damaged: int = 0
    not_stored: int = 0
    peaks: dict[str, int] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Count one part."""
        self.computed += part.computed
        self.reused += part.reused
        self.damaged += part.damaged
        self.not_stored += part.not_stored
        if part.peak_bytes is not None:
            self.peaks[part.worker] = max(part.peak_bytes, self.peaks.get(part.worker, 0))


@dataclass(frozen=True)
class Account:
    """What an extraction did.

    Parameters
    ----------
    scans, rows
        Scans of the manifest; regions that became rows of a table, ok or failed.
    rows_computed, rows_cached
        Rows for which something was computed, and rows that came whole from the cache.
    parts_computed, parts_reused
        Feature classes of images (of the rows that were computed): computed now, and taken from the cache.
    failed, excluded
        Failed rows by reason; excluded scans by code.
    damaged_entries, not_stored
        Files of the cache that were not believed; entries that could not be written.
    peak_memory_bytes, max_memory_bytes
        Largest resident memory of any worker, and its bound (regions that would need more are not computed); None
        where the system does not tell.
    workers, seconds
        Processes that could work at a time, and the wall time.
    """

    scans: int = 0
    rows: int = 0
    rows_computed: int = 0
    rows_cached: int = 0
    parts_computed: int = 0
    parts_reused: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    damaged_entries: int = 0
    not_stored: int = 0
    peak_memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    workers: int = 1
    seconds: float = 0.0


def account_of(
    tally: Tally,
    rows: Iterable[RegionFeatures],
    codes: Iterable[str],
    *,
    cached: int,
    workers: int,
    max_memory: int | None,
    seconds: float,
) -> Account:
    """Draw up the account.

    Parameters
    ----------
    rows
        All rows of the tables, of which so many ``cached``.
    codes
        Exclusion code of each scan; empty where there is none.
    """
    rows, codes = list(rows), list(codes)
    return Account(
        scans=len(codes),
        rows=len(rows),
        rows_computed=len(rows) - cached,
        rows_cached=cached,
        parts_computed=tally.computed,
        parts_reused=tally.reused,
        failed=dict(sorted(Counter(row.reason for row in rows if row.status == "failed").items())),
        excluded=dict(sorted(Counter(code for code in codes if code).items())),
        damaged_entries=tally.damaged,
        not_stored=tally.not_stored,
        peak_memory_bytes=max(tally.peaks.values(), default=None),
        max_memory_bytes=max_memory,
        workers=workers,
        seconds=round(seconds, 3),
    )
