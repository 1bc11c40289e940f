"""Hostile bundles: what an attacker, a careless copy or another program makes of a sound one, and the reason that each
must be refused with.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from altered_bundles import CHANGES, MANIFESTS, TEXTS, renamed, tree

from radiomics_crlm.provenance.files import canonical_json, sha256_bytes

Spoil = Callable[[Path, Path], object]


class Bomb:
    """Touches the canary if anybody unpickles it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.canary}",)


def reseal(folder: Path, **changed: bytes) -> None:
    """Change files and make the manifest fit, as an attacker would."""
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}
    files |= {name.replace("_json", ".json"): data for name, data in changed.items()}
    listed = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in files.items()}
    total = sha256_bytes(canonical_json(listed).encode())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    protocol = json.loads((folder / "manifest.json").read_text())["protocol"]
    sealed = {"protocol": protocol, "files": listed, "bundle_sha256": total}
    (folder / "manifest.json").write_text(canonical_json(sealed) + "\n")


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON of one file and make the manifest fit."""
    body = json.loads((folder / name).read_text())
    change(body)
    reseal(folder, **{name.replace(".json", "_json"): json.dumps(body).encode()})


def manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    body = json.loads((folder / "manifest.json").read_text())
    change(body)
    (folder / "manifest.json").write_text(canonical_json(body) + "\n")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../canary", "x")
    return buffer.getvalue()


def reseal_from(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    reseal(folder, model_json=data)


def swap_for_link(folder: Path, name: str) -> None:
    elsewhere = folder.parent / name
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)


def drop(folder: Path, name: str) -> None:
    (folder / name).unlink()
    reseal(folder)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def replace(folder: Path, name: str, old: bytes, new: bytes) -> None:
    data = (folder / name).read_bytes()
    assert old in data
    reseal(folder, **{name.replace(".json", "_json"): data.replace(old, new, 1)})


def saved_arrays(canary: Path) -> bytes:
    """An npz whose array is an object, that is a pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([Bomb(canary)], dtype=object))
    return buffer.getvalue()


def saved_network(canary: Path) -> bytes:
    """What torch saves: a zip archive with a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(canary)))
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


def instead(folder: Path, data: bytes) -> None:
    """A file in place of the folder."""
    shutil.rmtree(folder)
    folder.write_bytes(data)


def tarred(canary: Path) -> bytes:
    """A tar archive whose member climbs out of the folder into which it is unpacked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"../../../../../..{canary}"), io.BytesIO())
    return buffer.getvalue()


def laughing() -> bytes:
    """A billion times the same word, by reference."""
    lines = ['a0: &a0 "lol"'] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines).encode()


def planted_mlflow(folder: Path, canary: Path) -> None:
    """What MLflow would unpickle, were it asked to."""
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.pyfunc.model}}")
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Bomb(canary)))
    (folder / "conda.yaml").write_text("dependencies: [python]")


def newer_with_writer(folder: Path) -> None:
    edit(folder, "bundle.json", lambda b: (b.update(protocol=9), b["versions"].update(radiomics_crlm="7.1.0")))
    manifest(folder, lambda m: m.update(protocol=9))


def other_input(folder: Path, name: str) -> None:
    """An input of another name, in description, summary and model alike."""

    def change(body: dict[str, Any]) -> None:
        body["inputs"][0]["name"] = name
        body["training"]["inputs"][name] = body["training"]["inputs"].pop("cea_ng_ml")

    edit(folder, "bundle.json", change)
    edit(folder, "model.json", lambda b: b["columns"][0].update(name=name))


def loose_space(folder: Path) -> None:
    """A manifest that says the same in other bytes."""
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b": ", b":\t", 1))


# Attacks and accidents; no two of them are refused with the same words.
ATTACKS: dict[str, tuple[Spoil, str]] = {
    "pickle as model": (lambda f, c: reseal(f, model_json=pickle.dumps(Bomb(c))), "model.json: .*got a pickle"),
    "pickle as description": (lambda f, c: reseal(f, bundle_json=pickle.dumps(Bomb(c))), "bundle.json: .*got a pickle"),
    "pickle as trees": (lambda f, c: reseal(f, booster_json=pickle.dumps(Bomb(c))), "booster.json: .*got a pickle"),
    "pickle as manifest": (
        lambda f, c: (f / "manifest.json").write_bytes(pickle.dumps(Bomb(c))), "manifest.json: .*got a pickle"),
    "packed joblib as model": (
        lambda f, c: (joblib.dump(Bomb(c), f / "j", compress=3), reseal_from(f, "j")), "model.json: .*got zlib data"),
    "npz as model": (lambda f, c: reseal(f, model_json=saved_arrays(c)), "model.json: .*got a zip archive"),
    "torch as description": (lambda f, c: reseal(f, bundle_json=saved_network(c)), "bundle.json: .*got a zip archive"),
    "numpy objects as trees": (
        lambda f, c: (np.save(f / "j.npy", np.array([Bomb(c)]), allow_pickle=True),
                      reseal(f, booster_json=(f / "j.npy").read_bytes()), (f / "j.npy").unlink()),
        "file that no bundle has"),
    "packed JSON": (
        lambda f, _: reseal(f, model_json=gzip.compress((f / "model.json").read_bytes())), "model.json: .*got gzip"),
    "pickle added": (lambda f, c: (f / "model.pkl").write_bytes(pickle.dumps(Bomb(c))), "'model.pkl': .*not list"),
    "pickle listed": (
        lambda f, c: reseal(f, **{"model.pkl": pickle.dumps(Bomb(c))}), "'model.pkl': .*file that no bundle has"),
    "module added": (
        lambda f, c: (f / "__init__.py").write_text(f"open({str(c)!r}, 'w')"), "'__init__.py': .*does not list"),
    "MLflow model planted": (planted_mlflow, "'MLmodel': .*does not list"),
    "MLflow model instead": (
        lambda f, c: (planted_mlflow(f, c), (f / "manifest.json").unlink()), "this is an MLflow model, not a bundle"),
    "yaml tag": (
        lambda f, c: reseal(f, model_json=b"{a: !!python/object/apply:os.system ['touch " + bytes(c) + b"']}"),
        "model.json: .*not valid JSON"),
    "billion laughs": (lambda f, _: reseal(f, bundle_json=laughing()), "bundle.json: .*got something else"),
    "reduce in JSON": (
        lambda f, c: edit(f, "model.json", lambda b: b.update(__reduce__=["os.system", [f"touch {c}"]])),
        "stored model is not valid.*__reduce__"),
    "jsonpickle": (
        lambda f, c: edit(f, "bundle.json", lambda b: b.update({"py/object": "os.system", "py/args": [f"touch {c}"]})),
        "py/object': Extra inputs are not permitted"),
    "prototype keys": (
        lambda f, _: edit(f, "bundle.json", lambda b: b["training"].update(__proto__={"patients": 1})),
        "training.__proto__': Extra inputs"),
    "constructor": (
        lambda f, _: edit(f, "bundle.json", lambda b: b["definition"].update(constructor={"prototype": {}})),
        "definition.constructor': Extra inputs"),
    "custom objective": (
        lambda f, c: edit(f, "booster.json", lambda b: b["learner"]["objective"].update(name=f"__import__('{c}')")),
        "another kind of objective"),
    "zip in place of the folder": (lambda f, _: instead(f, zipped()), "is a folder, not a file.*got a zip archive"),
    "tar in place of the folder": (lambda f, c: instead(f, tarred(c)), "is a folder, not a file.*got a tar archive"),
    "packed tar in place of the folder": (
        lambda f, c: instead(f, gzip.compress(tarred(c))), "is a folder, not a file.*got gzip data"),
    "pickle in place of the folder": (
        lambda f, c: instead(f, pickle.dumps(Bomb(c))), "is a folder, not a file.*got a pickle"),
    "nothing in place of the folder": (lambda f, _: instead(f, b""), "is a folder, not a file.*got nothing"),
    "pipe in place of the folder": (
        lambda f, _: (shutil.rmtree(f), os.mkfifo(f)), "is a folder, not a file.*got something else"),
    "no folder": (lambda f, _: shutil.rmtree(f), "the bundle is missing"),
    "empty folder": (lambda f, _: [p.unlink() for p in f.iterdir()], "there is no manifest"),
    "zip slip": (lambda f, c: manifest(f, renamed(f"{'../' * 20}..{c}")), "file that no bundle has"),
    "symbolic link": (lambda f, _: swap_for_link(f, "model.json"), "'model.json': .*symbolic link"),
    "link to a device": (
        lambda f, _: ((f / "bundle.json").unlink(), (f / "bundle.json").symlink_to("/dev/zero")),
        "'bundle.json': .*symbolic link"),
    "pipe": (
        lambda f, _: ((f / "model.json").unlink(), os.mkfifo(f / "model.json")), "'model.json': .*no plain file"),
    "hard link to a pipe": (
        lambda f, _: ((f / "bundle.json").unlink(), os.mkfifo(f.parent / "p"),
                      os.link(f.parent / "p", f / "bundle.json")),
        "'bundle.json': .*no plain file"),
    "folder in place of a file": (
        lambda f, _: ((f / "booster.json").unlink(), (f / "booster.json").mkdir()), "'booster.json': .*no plain file"),
    "one byte of the description": (lambda f, _: flip(f / "bundle.json", 200), "bundle.json: .*content differs"),
    "one byte of the model": (lambda f, _: flip(f / "model.json", 200), "model.json: .*content differs"),
    "one byte of the trees": (lambda f, _: flip(f / "booster.json", 200), "booster.json: .*content differs"),
    "one byte of the manifest": (
        lambda f, _: flip(f / "manifest.json", (f / "manifest.json").read_bytes().index(b"size") + 8),
        "its own hash"),
    "one blank of the manifest": (lambda f, _: loose_space(f), "manifest is not written as"),
    "description cut short": (lambda f, _: os.truncate(f / "bundle.json", 100), "bundle.json: .*size differs"),
    "model cut short": (lambda f, _: os.truncate(f / "model.json", 100), "model.json: .*size differs"),
    "trees cut short": (lambda f, _: os.truncate(f / "booster.json", 0), "booster.json: .*size differs"),
    "manifest cut short": (lambda f, _: os.truncate(f / "manifest.json", 60), "manifest.json: .*not valid JSON"),
    "oversized model": (lambda f, _: os.truncate(f / "model.json", 2**36), "model.json: .*too large"),
    "manifest of another program": (
        lambda f, _: (f / "manifest.json").write_text('{"schemaVersion": 2, "layers": []}'), "no protocol number"),
    "newer protocol": (
        lambda f, _: newer_with_writer(f), "protocol 9, written by radiomics_crlm 7.1.0. Update this program to 7.1.0"),
    "newer description": (
        lambda f, _: edit(f, "bundle.json", lambda b: b.update(protocol=2)), "name different protocols"),
    "swapped files": (
        lambda f, _: reseal(f, **{"bundle.json": (f / "model.json").read_bytes(),
                                  "model.json": (f / "bundle.json").read_bytes()}),
        "bundle.json: .*no protocol number"),
    "bidirectional text": (
        lambda f, _: edit(f, "bundle.json", lambda b: b.update(title="safe \u202e evil")), "control characters"),
    "reads the outcome": (
        lambda f, _: other_input(f, "rfs_months"), "rfs_months is said to be known earlier than the vocabulary says"),
    "reads what nobody knows": (lambda f, _: other_input(f, "lucky_number"), "a clinical input is no predictor"),
    "cyclic tree": (
        lambda f, _: edit(f, "booster.json", lambda b: tree(b)["left_children"].__setitem__(0, 0)), "a cycle"),
    "stray index": (
        lambda f, _: edit(f, "booster.json", lambda b: tree(b)["split_indices"].__setitem__(0, 99)),
        "beyond the inputs"),
    "overflow": (lambda f, _: edit(f, "model.json", lambda b: b["mean"].__setitem__(1, 1e300)), "does not compute"),
    "NaN": (
        lambda f, _: edit(f, "model.json", lambda b: b.update(intercept=float("nan"))), "model.json: .*not finite"),
    "a number without end": (
        lambda f, _: replace(f, "bundle.json", b'"patients": ', b'"patients": ' + b"9" * 10**6),
        "bundle.json: .*not finite"),
    "deep nesting": (
        lambda f, _: replace(f, "model.json", b"{", b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b","), "too deeply"),
    "a key twice": (
        lambda f, _: replace(f, "bundle.json", b'"title"', b'"title": "Another", "title"'), "a key occurs twice"),
    "not UTF-8": (lambda f, _: replace(f, "bundle.json", b"An example", b"An \xff\xfe"), "text is not UTF-8"),
    "byte order mark": (
        lambda f, _: replace(f, "model.json", b"{", b"\xef\xbb\xbf{"), "got a byte order mark"),
}  # fmt: skip

# More of the same kinds: folders; manifests; texts on which parsers disagree; changes whose hashes fit.
FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "zip as model": (lambda f: reseal(f, model_json=zipped()), "no JSON object"),
    "symbolic link": (lambda f: swap_for_link(f, "model.json"), "symbolic link"),
    "folder inside": (lambda f: (f / "booster").mkdir(), "no plain file"),
    "pipe": (lambda f: ((f / "model.json").unlink(), os.mkfifo(f / "model.json")), "no plain file"),
    "many files": (lambda f: [(f / f"x{i}").touch() for i in range(50)], "more files than any bundle"),
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "no manifest"),
    "manifest empty": (lambda f: (f / "manifest.json").write_bytes(b""), "no JSON object"),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), "no JSON object"),
    "manifest oversized": (lambda f: (f / "manifest.json").write_bytes(b"{" + b" " * 70_000), "too large"),
    "manifest lists twice": (
        lambda f: (f / "manifest.json").write_text('{"protocol": 1, "files": {}, "files": {}}'),
        "key occurs twice",
    ),
    "file missing": (lambda f: (f / "model.json").unlink(), "model.json: .*file is missing"),
    "description unlisted": (lambda f: drop(f, "bundle.json"), "bundle.json: .*file is missing"),
    "trees withheld": (lambda f: drop(f, "booster.json"), "trees and learner do not fit"),
    "truncated": (lambda f: os.truncate(f / "model.json", 100), "size differs"),
    "tampered byte": (lambda f: flip(f / "model.json", 200), "content differs"),
    "oversized": (lambda f: os.truncate(f / "model.json", 2**36), "too large"),
}


def _further() -> dict[str, tuple[Spoil, str]]:
    """The tables above in the shape of ``ATTACKS``."""
    found: dict[str, tuple[Spoil, str]] = {}

    def add(name: str, spoil: Callable[[Path], object], reason: str) -> None:
        found[name] = (lambda folder, _: spoil(folder), reason)

    for name, (spoil, reason) in FOLDERS.items():
        add(name, spoil, reason)
    for name, (change, reason) in MANIFESTS.items():
        add(name, lambda f, change=change: manifest(f, change), reason)
    for name, (file, old, new, reason) in TEXTS.items():
        add(name, lambda f, file=file, old=old, new=new: replace(f, file, old, new), reason)
    for name, (file, change, reason) in CHANGES.items():
        add(name, lambda f, file=file, change=change: edit(f, file, change), reason)
    return found


FURTHER = _further()
HOSTILE = {**{f"attack: {name}": case for name, case in ATTACKS.items()}, **FURTHER}
