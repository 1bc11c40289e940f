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


def trees(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["learner"]["gradient_booster"]["model"]
    return found


def tree(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = trees(body)["trees"][0]
    return found


def renamed(new: str) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["files"].update({new: m["files"].pop("model.json")})


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
    "zip slip": (lambda f, c: manifest(f, renamed(f"../../..{c}")), "file that no bundle has"),
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

MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "traversal": (renamed("../model.json"), "file that no bundle has"),
    "absolute path": (renamed("/etc/passwd"), "file that no bundle has"),
    "device name": (renamed("CON"), "file that no bundle has"),
    "manifest with more": (lambda m: m.update(trusted=["os"]), "other fields"),
    "hash of nothing": (lambda m: m["files"]["model.json"].update(sha256=""), "not a SHA-256"),
    "size as text": (lambda m: m["files"]["model.json"].update(size="9"), "size and sha256"),
    "total hash wrong": (lambda m: m.update(bundle_sha256="0" * 64), "its own hash"),
    "total hash a list": (lambda m: m.update(bundle_sha256=[]), "its own hash"),
    "newer manifest": (lambda m: m.update(protocol=3), "newer format; expected protocol 1 or 2; got protocol 3"),
    "protocol true": (lambda m: m.update(protocol=True), "no protocol number"),
}

# File, its text, what is put in its place, reason.
TEXTS: dict[str, tuple[str, bytes, bytes, str]] = {
    "overflowing number": ("model.json", b'"intercept": 0.0', b'"intercept": 1e999', "not finite"),
    "endless integer": ("model.json", b'"format": 1', b'"format": ' + b"1" * 5000, "not finite"),
    "repeated key": ("model.json", b'"format": 1', b'"format": 1, "format": 1', "occurs twice"),
    "not UTF-8": ("bundle.json", b"An example", b"An \xff\xfe", "not UTF-8"),
    "lone surrogate": ("bundle.json", b"An example", b"An \\ud800", "description is not valid"),
    "trailing text": ("model.json", b"}\n", b"}{}", "not valid JSON"),
    "byte order mark": ("model.json", b"{", b"\xef\xbb\xbf{", "no JSON object"),
    "unclosed string": ("model.json", b"}\n", b'}"', "not valid JSON"),
    "unclosed strings": ("model.json", b"{", b'{"' + b'\\"' * 5 * 10**6, "not valid JSON"),
    "deep list": ("model.json", b"{", b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b",", "too deeply"),
    "deep object": ("booster.json", b"{", b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "too deeply"),
}

# File, change of its parsed content, reason.
CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "newer description": ("bundle.json", lambda b: b.update(protocol=7), "newer format"),
    "number as text": ("bundle.json", lambda b: b["training"].update(patients="150"), "training.patients"),
    "unknown field": ("bundle.json", lambda b: b.update(loader="os.system"), "loader.*not permitted"),
    "unknown field of input": ("bundle.json", lambda b: b["inputs"][0].update(code="x"), "inputs.0.code"),
    "terminal escape": ("bundle.json", lambda b: b.update(title="\x1b[2J"), "control characters"),
    "escape in a key": ("bundle.json", lambda b: b["versions"].update({"\x07": "1"}), "control characters"),
    "NaN": ("model.json", lambda b: b.update(intercept=float("nan")), "not finite"),
    "infinity": ("model.json", lambda b: b.update(intercept=float("-inf")), "not finite"),
    "renamed input": ("model.json", lambda b: b["columns"][0].update(name="nlr"), "other inputs than"),
    "unknown key of model": ("model.json", lambda b: b.update(module="os"), "stored model is not valid"),
    "text in numbers": ("model.json", lambda b: b["fill"].__setitem__(0, "os"), "stored model is not valid"),
    "index beyond": ("model.json", lambda b: b["selected"].__setitem__(0, 10**6), "stored model is not valid"),
    "zero scale": ("model.json", lambda b: b["scale"].__setitem__(0, 0.0), "stored model is not valid"),
    "trees are text": ("booster.json", lambda b: b.update(learner="x"), "learner is missing"),
    "cyclic tree": ("booster.json", lambda b: tree(b)["left_children"].__setitem__(0, 0), "cycle"),
    "child beyond": ("booster.json", lambda b: tree(b)["left_children"].__setitem__(0, 10**6), "stray child"),
    "child below": ("booster.json", lambda b: tree(b)["left_children"].__setitem__(0, -7), "stray child"),
    "shared child": ("booster.json", lambda b: tree(b).update(right_children=tree(b)["left_children"]), "cycle"),
    "wrong parent": ("booster.json", lambda b: tree(b)["parents"].__setitem__(1, 2), "stray child"),
    "undecided default": ("booster.json", lambda b: tree(b)["default_left"].__setitem__(0, 7), "default_left"),
    "no root": ("booster.json", lambda b: tree(b)["parents"].__setitem__(0, 1), "no root"),
    "split beyond": ("booster.json", lambda b: tree(b)["split_indices"].__setitem__(0, 99), "beyond the inputs"),
    "weightless node": ("booster.json", lambda b: tree(b)["sum_hessian"].__setitem__(1, 0.0), "no weight"),
    "oversized leaf": ("booster.json", lambda b: tree(b)["split_conditions"].__setitem__(1, 1e300), "too large"),
    "vanishing scale": ("model.json", lambda b: b["scale"].__setitem__(1, 1e-320), "does not compute"),
    "oversized mean": ("model.json", lambda b: b["mean"].__setitem__(1, 1e300), "does not compute"),
    "number of another type": ("booster.json", lambda b: tree(b)["base_weights"].__setitem__(0, 1), "base_weights"),
    "truth for a number": ("booster.json", lambda b: trees(b)["tree_info"].__setitem__(0, False), "model is not as"),
    "base score of text": (
        "booster.json",
        lambda b: b["learner"]["learner_model_param"].update(base_score="[nan]"),
        "base_score is no number",
    ),
    "categories of inputs": ("booster.json", lambda b: trees(b)["cats"].update(enc=[{"a": 1}]), "model is not as"),
    "names of inputs": ("booster.json", lambda b: b["learner"].update(feature_names=["x"]), "feature_names is not as"),
    "unknown field of trees": ("booster.json", lambda b: b.update(config={}), "document is not as"),
    "unknown field of a tree": ("booster.json", lambda b: tree(b).update(extra=1), "other fields"),
    "version of the future": ("booster.json", lambda b: b.update(version=[4, 0, 0]), "another version"),
    "short array": ("booster.json", lambda b: tree(b)["sum_hessian"].pop(), "sum_hessian"),
    "text in a tree": ("booster.json", lambda b: tree(b)["base_weights"].__setitem__(0, "x"), "base_weights"),
    "categorical split": ("booster.json", lambda b: tree(b)["categories"].append(1), "categories"),
    "tree out of order": ("booster.json", lambda b: tree(b).update(id=5), "out of order"),
    "wrong iterations": ("booster.json", lambda b: trees(b)["iteration_indptr"].append(9999), "model is not as"),
    "no trees": ("booster.json", lambda b: trees(b).update(trees=[]), "no trees"),
    "huge node count": ("booster.json", lambda b: tree(b)["tree_param"].update(num_nodes="9" * 10), "whole number"),
    "two outputs": (
        "booster.json",
        lambda b: b["learner"]["learner_model_param"].update(num_class="3"),
        "learner_model_param is not as",
    ),
    "other objective": (
        "booster.json",
        lambda b: b["learner"]["objective"].update(name="rank:ndcg"),
        "another kind of objective",
    ),
    "other booster": (
        "booster.json",
        lambda b: b["learner"]["gradient_booster"].update(name="dart"),
        "gradient_booster is not as",
    ),
}


# Changes to what protocol 2 adds.
JUDGING: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "protocol 1 with fields of 2": (lambda b: b.update(protocol=1), "name different protocols"),
    "protocol 2 without its fields": (
        lambda b: [b.pop(name) for name in ("uncertainty", "novelty", "shift")],
        "fields are not those of its protocol"),
    "sets of other months": (
        lambda b: b["uncertainty"]["sets"][0].update(months=13), "uncertainty is of other horizons"),
    "threshold beyond 1": (lambda b: b["uncertainty"]["sets"][0].update(threshold=1.5), "sets.0.threshold"),
    "bands of other lengths": (lambda b: b["uncertainty"]["bands"][0]["lower"].pop(), "limits of different lengths"),
    "band upside down": (
        lambda b: b["uncertainty"]["bands"][0]["lower"].__setitem__(0, 0.5), "less than or equal to 0"),
    "band that falls": (lambda b: b["uncertainty"]["bands"][0]["centre"].reverse(), "centres of the band must ascend"),
    "bound of other months": (lambda b: b["uncertainty"]["bound"]["months"].append(99), "of other horizons"),
    "novelty of other inputs": (
        lambda b: (b["novelty"]["mean"].append(0.0), [d.append(0.0) for d in b["novelty"]["directions"]]),
        "novelty is of other inputs"),
    "ragged directions": (lambda b: b["novelty"]["directions"][0].pop(), "do not fit together"),
    "no limit": (lambda b: b["novelty"].update(limit=0.0), "novelty.limit"),
    "many directions": (
        lambda b: b["novelty"].update(directions=b["novelty"]["directions"][:1] * 1000), "novelty.directions"),
    "shift of other inputs": (lambda b: b["shift"]["inputs"].pop("cea_ng_ml"), "distribution .* of other inputs"),
    "bins that fall": (lambda b: b["shift"]["inputs"]["cea_ng_ml"]["edges"].reverse(), "bins must ascend"),
    "counts that lack": (lambda b: b["shift"]["inputs"]["cea_ng_ml"]["counts"].pop(), "bins and counts do not fit"),
    "negative counts": (
        lambda b: b["shift"]["inputs"]["cea_ng_ml"]["counts"].__setitem__(0, -1), "greater than or equal to 0"),
    "rows of patients": (lambda b: b["shift"].update(rows=[[1, 2]]), "shift.rows': Extra inputs"),
}  # fmt: skip


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
