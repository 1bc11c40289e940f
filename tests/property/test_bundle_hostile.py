"""Hostile bundles: each is refused with its own reason, quickly, and nothing in it is ever executed."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scoring_examples import CLINICAL, content, model

from radiomics_crlm.errors import CrlmError, InputError
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes
from radiomics_crlm.scoring.bundle import load_bundle, write_bundle
from radiomics_crlm.scoring.sealed import parse_object

SECONDS = 1.0


class Bomb:
    """Touches the canary if anybody unpickles it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound bundle with trees."""
    folder = tmp_path_factory.mktemp("good") / "bundle"
    write_bundle(folder, content(), model(learner="xgboost"))
    return folder


@pytest.fixture
def victim(good: Path, tmp_path: Path) -> Path:
    """A copy of the sound bundle to spoil."""
    return Path(shutil.copytree(good, tmp_path / "bundle"))


def reseal(folder: Path, **changed: bytes) -> None:
    """Change files and make the manifest fit, as an attacker would."""
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}
    files |= {name.replace("_json", ".json"): data for name, data in changed.items()}
    listed = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in files.items()}
    total = sha256_bytes(canonical_json(listed).encode())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sealed = {"protocol": 1, "files": listed, "bundle_sha256": total}
    (folder / "manifest.json").write_text(canonical_json(sealed) + "\n")


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON of one file and make the manifest fit."""
    body = json.loads((folder / name).read_text())
    change(body)
    reseal(folder, **{name.replace(".json", "_json"): json.dumps(body).encode()})


def manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    body = json.loads((folder / "manifest.json").read_text())
    change(body)
    (folder / "manifest.json").write_text(json.dumps(body))


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


# What would run if it were loaded (folder, canary), and the reason that must be given.
EXECUTABLE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "pickle as model": (lambda f, c: reseal(f, model_json=pickle.dumps(Bomb(c))), "no JSON object"),
    "joblib as model": (lambda f, c: (joblib.dump(Bomb(c), f / "j"), reseal_from(f, "j")), "no JSON object"),
    "pickle added": (lambda f, c: (f / "model.pkl").write_bytes(pickle.dumps(Bomb(c))), "does not list"),
    "pickle listed": (lambda f, c: reseal(f, **{"model.pkl": pickle.dumps(Bomb(c))}), "file that no bundle has"),
    "module added": (lambda f, c: (f / "__init__.py").write_text(f"open({str(c)!r}, 'w')"), "does not list"),
    "yaml tag": (
        lambda f, c: reseal(f, model_json=b"{a: !!python/object/apply:os.system ['touch " + bytes(c) + b"']}"),
        "not valid JSON",
    ),
}

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


def refused(folder: Path, reason: str) -> None:
    """Loading is refused for this reason, quickly, without a path or a control character in the message."""
    start = time.perf_counter()
    with pytest.raises(InputError, match=reason) as refusal:
        load_bundle(folder)
    assert time.perf_counter() - start < SECONDS
    assert str(folder.parent) not in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("case", EXECUTABLE)
def test_nothing_in_a_bundle_is_executed(victim: Path, tmp_path: Path, case: str) -> None:
    spoil, reason = EXECUTABLE[case]
    spoil(victim, tmp_path / "canary")
    refused(victim, reason)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("case", FOLDERS)
def test_spoilt_folders_are_refused(victim: Path, case: str) -> None:
    spoil, reason = FOLDERS[case]
    spoil(victim)
    refused(victim, reason)


@pytest.mark.parametrize("case", MANIFESTS)
def test_spoilt_manifests_are_refused(victim: Path, case: str) -> None:
    change, reason = MANIFESTS[case]
    manifest(victim, change)
    refused(victim, reason)


@pytest.mark.parametrize("case", TEXTS)
def test_texts_on_which_parsers_disagree_are_refused(victim: Path, case: str) -> None:
    name, old, new, reason = TEXTS[case]
    replace(victim, name, old, new)
    refused(victim, reason)


@pytest.mark.parametrize("case", CHANGES)
def test_resealed_changes_are_refused(victim: Path, case: str) -> None:
    name, change, reason = CHANGES[case]
    edit(victim, name, change)
    refused(victim, reason)


def test_resealing_alone_does_no_harm(victim: Path) -> None:
    """The helpers above spoil nothing by themselves: each refusal is due to its own case."""
    reseal(victim)
    for name in ("bundle.json", "model.json", "booster.json"):
        edit(victim, name, lambda body: body)
    assert load_bundle(victim).content == content()


def test_the_canary_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))  # noqa: S301 - the bomb is ours
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("data", [b"\x80\x04.", zipped(), b""])
def test_a_file_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bundle.pkl").write_bytes(data)
    with pytest.raises(InputError, match="a bundle is a folder, not a file"):
        load_bundle(tmp_path / "bundle.pkl")
    with pytest.raises(InputError, match="the bundle is missing"):
        load_bundle(tmp_path / "nowhere")


def test_surplus_trees_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", content(), model())
    trees = model(learner="xgboost").booster
    assert trees is not None
    reseal(tmp_path / "b", booster_json=trees)
    with pytest.raises(InputError, match="trees and learner do not fit"):
        load_bundle(tmp_path / "b")


def test_a_leaking_bundle_is_refused(victim: Path) -> None:
    edit(victim, "bundle.json", lambda b: b["inputs"][0].update(available_at="outcome"))
    with pytest.raises(CrlmError, match=f"{CLINICAL[0].name} is known only at outcome"):
        load_bundle(victim)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_any_changed_byte_is_noticed(good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = Path(shutil.copytree(good, tmp_path_factory.mktemp("fuzz") / "b"))
    path = folder / data.draw(st.sampled_from(["bundle.json", "model.json", "booster.json"]))
    content_ = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content_) - 1))
    content_[position] = (content_[position] + data.draw(st.integers(1, 255))) % 256
    path.write_bytes(bytes(content_))
    with pytest.raises(InputError, match=r"content differs from the manifest"):
        load_bundle(folder)
    shutil.rmtree(folder)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in children for place in [(*path, key), *_places(child, (*path, key))]]


@FUZZ
@given(data=st.data())
def test_any_resealed_change_is_refused_or_still_a_model(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever an attacker puts in place of whatever: a typed refusal or a model that computes, never another error."""
    folder = Path(shutil.copytree(good, tmp_path_factory.mktemp("fuzz") / "b"))
    name = data.draw(st.sampled_from(["bundle.json", "model.json", "booster.json"]))
    body = json.loads((folder / name).read_text())
    changed = copy.deepcopy(body)
    *parents, last = data.draw(st.sampled_from(_places(body)))
    place = changed
    for key in parents:
        place = place[key]
    odd = st.sampled_from([None, True, -1, 0, 10**17, 1e308, -1e-308, "", "x", [], {}, [[]], {"a": 1}, "../x", "9" * 9])
    if data.draw(st.booleans()):
        place[last] = data.draw(odd)
    else:
        del place[last]
    reseal(folder, **{name.replace(".json", "_json"): json.dumps(changed).encode()})
    with contextlib.suppress(CrlmError):
        load_bundle(folder)
    shutil.rmtree(folder)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    for text in (data, b"{" + data, b'{"a": ' + data + b"}"):
        with contextlib.suppress(InputError):
            assert isinstance(parse_object(text, what="x"), dict)
