"""What was measured and extracted before, found again by the content of the files it came from.

An entry is named by the hashes of `fingerprint`; the features in it are filed by a hash of the settings that each part
depends on. So another file, label or program is another entry, a changed setting recomputes only the parts that depend
on it, and cohorts, runs and machines may share a cache. Entries hold numbers, flags and hashes: no patient key, no
path, no date.

Each entry is a small JSON file with numbers in full precision, written whole or not at all. A file is believed only if
its first line tells the right version, kind and name and the checksum of the rest; any other is removed, counted, and
computed again. Files are added and never changed, so several processes and runs may work in one cache at once.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.features.fingerprint import Fingerprint, digest
from radiomics_crlm.features.parts import Region, RegionFeatures, engine, part_hashes, part_names
from radiomics_crlm.features.profiles import Profile, settings_hash
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes
from radiomics_crlm.provenance.plain_values import decode, encode

VERSION = 1
# It depends on the memory there is, not on the files alone: next time it may go well.
NOT_KEPT = frozenset({"too_large_for_memory"})
_FORMAT = "crlm extraction cache"
_UNFINISHED = "unfinished"
_DAY_S = 86400
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass
class Known:
    """What a cache holds of one region for one profile.

    ``features`` is the whole result, or None; ``parts`` are those that need not be computed again.
    """

    features: RegionFeatures | None = None
    parts: dict[str, dict[str, float]] = field(default_factory=dict)


class ScanCache:
    """The entries of one scan, for one profile.

    Parameters
    ----------
    folder
        The cache; None keeps nothing and knows nothing.
    found
        Content of the scan's files; None if they cannot be read.
    profile
        Settings of the extraction.

    Attributes
    ----------
    damaged
        Files that were not believed.
    not_stored
        Entries that could not be written (disk full, no permission): they cost time later, nothing else.
    """

    def __init__(self, folder: Path | None, found: Fingerprint | None, profile: Profile) -> None:
        self._root = None if folder is None or found is None else folder / f"v{VERSION}"
        self._voxels, self._scan = ("", "") if found is None else (found.voxels, found.scan)
        if "ring" in profile.regions and self._scan:  # a region that other profiles do not look for
            self._scan += "-ring"
        self._parts = part_names(profile)
        self._filed = {part: f"{part}:{value}" for part, value in part_hashes(profile).items()}
        self._settings = settings_hash(profile, engine())
        self.damaged = 0
        self.not_stored = 0

    def measured(self) -> dict[str, Any] | None:
        """The measurements of the scan, if they are known."""
        return next(self._entries("scan", self._scan), None)

    def keep_measured(self, record: Mapping[str, Any]) -> None:
        """Add the measurements of the scan."""
        self._write("scan", self._scan, record)

    def region(self, region: Region) -> Known:
        """What is known of a region."""
        known, verdict = Known(), None
        for entry in self._entries("region", self._name(region)):
            parts = entry["parts"]
            known.parts |= {part: parts[filed] for part, filed in self._filed.items() if filed in parts}
            verdict = entry["verdicts"].get(self._settings, verdict)
        if verdict is not None:
            failed = verdict["status"] == "failed"
            if failed or set(self._parts) <= set(known.parts):
                known.features = RegionFeatures(region, **verdict, parts={} if failed else dict(known.parts))
        return known

    def keep_region(self, features: RegionFeatures, known: Known) -> None:
        """Add what was computed of a region beyond what was known, unless it may turn out differently next time."""
        if features.reason in NOT_KEPT:
            return
        verdict = {"status": features.status, "reason": features.reason, "flags": features.flags}
        parts = {self._filed[part]: values for part, values in features.parts.items() if part not in known.parts}
        self._write("region", self._name(features.region), {"parts": parts, "verdicts": {self._settings: verdict}})

    def _name(self, region: Region) -> str:
        return digest([self._voxels, region.role, region.label])

    def _place(self, root: Path, kind: str, name: str) -> Path:
        return root / kind / name[:2] / name

    def _entries(self, kind: str, name: str) -> Iterator[dict[str, Any]]:
        """What is filed under a name, always in the same order; what is damaged is removed."""
        try:
            paths = [] if self._root is None else sorted(self._place(self._root, kind, name).iterdir())
        except OSError:
            return
        for path in paths:
            try:
                head, _, body = path.read_bytes().partition(b"\n")
                if json.loads(head) != _head(kind, name, body):
                    raise ValueError
                content = decode(json.loads(body))
                if kind == "region" and content.keys() != {"parts", "verdicts"}:
                    raise ValueError
            except FileNotFoundError:  # another run removed it
                continue
            except _DAMAGE:
                self.damaged += 1
                _remove(path)
                continue
            yield content

    def _write(self, kind: str, name: str, content: Mapping[str, Any]) -> None:
        """Write a file elsewhere and move it to its place. It need not outlast a power cut: its checksum would tell."""
        if self._root is None:
            return
        body = canonical_json(encode(content), indent=None).encode("utf-8")
        head = canonical_json(_head(kind, name, body), indent=None).encode("utf-8")
        place = self._place(self._root, kind, name) / f"{sha256_bytes(body)[:16]}.json"
        temporary = self._root / _UNFINISHED / secrets.token_hex(12)
        try:
            for folder in (place.parent, temporary.parent):
                folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(head + b"\n" + body)
            os.replace(temporary, place)
        except OSError:
            self.not_stored += 1
            _remove(temporary)


def open_cache(folder: Path) -> Path:
    """Make sure that a cache can be kept in a folder; returns it as an absolute path.

    Raises
    ------
    ConfigError
        If the folder cannot be made or written to.
    """
    unfinished = folder / f"v{VERSION}" / _UNFINISHED
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        probe = unfinished / secrets.token_hex(12)
        probe.touch()
        now = probe.stat().st_mtime
        for left in unfinished.iterdir():  # of runs that were killed
            if left == probe or now - left.stat().st_mtime > _DAY_S:
                left.unlink(missing_ok=True)
    except FileNotFoundError:  # another run tidied up at the same time
        return folder.resolve()
    except OSError as error:
        raise ConfigError(
            "the cache folder cannot be written to",
            expected="room on the disk, and the right to write",
            got=error.strerror or type(error).__name__,
            remedy="give the same command again with another --cache, or with --no-cache",
        ) from None
    return folder.resolve()


def _head(kind: str, name: str, body: bytes) -> dict[str, Any]:
    """First line of a file."""
    return {"format": _FORMAT, "version": VERSION, "kind": kind, "name": name, "sha256": sha256_bytes(body)}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # not ours to remove: it is not believed next time either
        return
