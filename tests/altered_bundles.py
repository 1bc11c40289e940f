"""Sound bundles of which one thing is altered, and the reason that each must be refused with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def trees(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["learner"]["gradient_booster"]["model"]
    return found


def tree(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = trees(body)["trees"][0]
    return found


def renamed(new: str) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["files"].update({new: m["files"].pop("model.json")})


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
