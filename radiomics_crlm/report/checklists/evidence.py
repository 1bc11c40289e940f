"""Evidence: a file of the run, its hash, the place in it, and what stands there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.provenance.files import canonical_json, read_json, sha256_bytes, sha256_file
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts

RUN = "run.json"
State = Literal["yes", "no", "not_applicable"]


@dataclass(frozen=True)
class Pointer:
    """A place in a file of the run.

    ``place`` is a path into a JSON file (``$.experiment.question``) or the columns of a table (``columns n, events``).
    """

    file: str
    sha256: str
    place: str
    shows: str


@dataclass(frozen=True)
class Fact:
    """What files of the run prove."""

    state: State
    evidence: tuple[Pointer, ...]


def yes(*evidence: Pointer) -> Fact:
    """The files prove it."""
    return Fact("yes", evidence)


def no(*evidence: Pointer) -> Fact:
    """The files contradict it."""
    return Fact("no", evidence)


def not_applicable(*evidence: Pointer) -> Fact:
    """The files show that the item does not concern the run."""
    return Fact("not_applicable", evidence)


class Sources:
    """The files of a run folder.

    What the record of the run says counts only if its experiment has the hash that the record names, and a bundle only
    if its files have the hashes of its manifest, and that the one of the record.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or holds no valid experiment.
    """

    def __init__(self, out: Path, artefacts: Artefacts | None = None) -> None:
        self._out = out
        self.artefacts = load_artefacts(out) if artefacts is None else artefacts
        self.experiment = self.artefacts.experiment
        self._hashes: dict[str, str] = {}
        self._tables: dict[str, pd.DataFrame | None] = {}
        recorded = self.artefacts.part("hashes").get("experiment")
        content = canonical_json(self.artefacts.run["experiment"]).encode()
        self._whole = recorded is None or recorded == sha256_bytes(content)

    def at(self, file: str, place: str, shows: str) -> Pointer:
        """Evidence in a file of the run, by its path relative to the run folder."""
        if file not in self._hashes:
            self._hashes[file] = sha256_file(self._out / file)
        return Pointer(file, self._hashes[file], place, shows)

    def record(self, path: str) -> Any:
        """A value of ``run.json``; None if it is not there, or the experiment in it does not match its hash.

        Parameters
        ----------
        path
            Keys joined by dots.
        """
        found: Any = self.artefacts.run if self._whole else None
        for step in path.split("."):
            if not isinstance(found, Mapping) or step not in found:
                return None
            found = found[step]
        return found

    def at_record(self, path: str, shows: str) -> Pointer:
        """Evidence in ``run.json``; a ``KeyError`` if it does not match its own hash, so that it proves nothing."""
        if not self._whole:
            raise KeyError(path)
        return self.at(RUN, f"$.{path}", shows)

    def table(self, name: str) -> pd.DataFrame | None:
        """A table of the run with at least one row, or None."""
        if name not in self._tables:
            self._tables[name] = self._read(name)
        return self._tables[name]

    def at_table(self, name: str, columns: Sequence[str], shows: str) -> Pointer:
        """Evidence in columns of a table."""
        return self.at(f"tables/{name}.parquet", f"columns {', '.join(columns)}", shows)

    def tuning(self) -> pd.DataFrame | None:
        """All settings that were tried, or None."""
        path = self._out / "tables" / "tuning.csv"
        try:
            tried = pd.read_csv(path, usecols=["endpoint", "model", "repeat", "fold"])
        except (FileNotFoundError, ValueError):
            return None
        return tried if len(tried) else None

    def bundles(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Bundles of all delivered models, if all are whole: folder relative to the run, content of the JSON files."""
        found = []
        for endpoint, body in self.artefacts.part("delivered").items():
            folder = f"bundles/{endpoint}"
            found.append((folder, self._bundle(self._out / folder, body.get("sha256"))))
        return found if all(content for _, content in found) else []

    def external(self) -> list[str]:
        """Names of the cohorts in which delivered models were tried."""
        return sorted(self.artefacts.elsewhere)

    def _read(self, name: str) -> pd.DataFrame | None:
        found = self.artefacts.tables.get(name)
        if found is None:
            try:
                found = read_table(self._out / "tables" / f"{name}.parquet", name)
            except CrlmError:
                return None
        return found if len(found) else None

    def _bundle(self, folder: Path, sealed: object) -> Mapping[str, Any]:
        try:
            manifest = read_json(folder / "manifest.json", what="the manifest of a bundle")
            files = manifest["files"]
            if manifest["bundle_sha256"] != sealed:
                return {}
            if any(
                Path(name).name != name or sha256_file(folder / name) != body["sha256"] for name, body in files.items()
            ):
                return {}
            parts = {name: json.loads((folder / name).read_bytes()) for name in files if name.endswith(".json")}
        except (CrlmError, OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return {}
        return parts


def holds(content: Any, key: str) -> bool:
    """Whether a key stands anywhere in a JSON value.

    >>> holds({"parts": [{"fill": [1.0]}]}, "fill")
    True
    """
    if isinstance(content, Mapping):
        return key in content or any(holds(value, key) for value in content.values())
    return isinstance(content, list) and any(holds(value, key) for value in content)
