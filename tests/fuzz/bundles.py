"""Bundles: the golden ones of every protocol, with one of their files damaged, sealed again or not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from hostile_bundles import reseal

from fuzz.campaign import Case
from fuzz.damage import damaged, spliced
from fuzz.trees import BEYOND_JSON, spoilt
from radiomics_crlm.scoring.bundle import load_bundle

_GOLDEN = Path(__file__).parents[1] / "golden"
_JSON_TRAPS = tuple(value for value in BEYOND_JSON if isinstance(value, (int, float)))
_TOKENS = (b"NaN", b"Infinity", b"1e999", b"-0", b"9" * 40, b"9" * 5000, b"1E5", b"0x10", b"01", b"'a'", b"[" * 100)
_STRANGERS = ("model.pkl", "evil.py", "MLmodel", ".hidden", "a\nb", "\u202ejson.ledom", "x" * 200)


class Bundles:
    """Reader ``bundle``: :func:`load_bundle`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bundle"
        self._seeds = [
            {path.name: path.read_bytes() for path in bundle.iterdir()}
            for bundle in sorted(_GOLDEN.glob("protocol_*/*/bundle"))
        ]

    def case(self, rng: np.random.Generator) -> Case:
        """The next input."""
        files = dict(self._seeds[int(rng.integers(len(self._seeds)))])
        ways = (self._bytes, self._sealed_bytes, self._tree, self._tree, self._tree, self._token, self._manifest)
        way = (*ways, self._folder_itself)[int(rng.integers(len(ways) + 1))]
        if self._folder.is_symlink() or self._folder.is_file():
            self._folder.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for name, data in files.items():
            (self._folder / name).write_bytes(data)
        way(files, rng)
        return Case(way.__name__.strip("_"), lambda: load_bundle(self._folder))

    def _one(self, files: dict[str, bytes], rng: np.random.Generator, *, manifest: bool = False) -> str:
        names = sorted(name for name in files if manifest or name != "manifest.json")
        return names[int(rng.integers(len(names)))]

    def _bytes(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        name = self._one(files, rng, manifest=True)
        (self._folder / name).write_bytes(damaged(files[name], rng))

    def _sealed_bytes(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        name = self._one(files, rng)
        other = self._seeds[int(rng.integers(len(self._seeds)))]["model.json"]
        spoil = damaged(files[name], rng) if rng.random() < 0.8 else spliced(files[name], other, rng)
        self._seal(name, spoil)

    def _tree(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        name = self._one(files, rng)
        body: Any = spoilt(json.loads(files[name]), rng)
        if rng.random() < 0.1:
            body = spoilt(body, rng, traps=_JSON_TRAPS, most=1)
        self._seal(name, json.dumps(body).encode())

    def _token(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        """A number in the text becomes something that is none, or another one."""
        name = self._one(files, rng)
        data = files[name]
        digits = np.flatnonzero(np.isin(np.frombuffer(data, np.uint8), np.frombuffer(b"0123456789", np.uint8)))
        at = int(digits[int(rng.integers(len(digits)))])
        self._seal(name, data[:at] + _TOKENS[int(rng.integers(len(_TOKENS)))] + data[at + 1 :])

    def _manifest(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        body = spoilt(json.loads(files["manifest.json"]), rng)
        text = json.dumps(body, sort_keys=True, indent=1 if rng.random() < 0.5 else None)
        (self._folder / "manifest.json").write_text(text, encoding="utf-8")

    def _folder_itself(self, files: dict[str, bytes], rng: np.random.Generator) -> None:
        """Files that are absent, strange, no plain files, or too many."""
        name, how = self._one(files, rng, manifest=True), int(rng.integers(7))
        path = self._folder / name
        if how == 0:
            path.unlink()
        elif how == 1:
            (self._folder / _STRANGERS[int(rng.integers(len(_STRANGERS)))]).write_bytes(files[name])
        elif how == 2:
            path.unlink()
            path.symlink_to("/dev/zero" if rng.random() < 0.5 else self._folder / "model.json")
        elif how == 3:
            path.unlink()
            os.mkfifo(path) if rng.random() < 0.5 else path.mkdir()
        elif how == 4:
            for number in range(int(rng.integers(2, 60))):
                (self._folder / f"more{number}").touch()
        elif how == 5:
            shutil.rmtree(self._folder)
            self._folder.write_bytes(damaged(files[name], rng))
        else:
            path.write_bytes(files[name] + b" " * (1 << 24) * int(rng.integers(1, 3)))

    def _seal(self, name: str, data: bytes) -> None:
        reseal(self._folder, **{name.replace(".json", "_json"): data})
