"""Checks of boosted trees before a library walks them.

The library trusts its files: a cycle never ends, an index out of range reads foreign memory, and a value of another
type ends the process. So only the exact document that this program writes is admissible (numeric splits, one output,
one tree per round), with sound trees inside. It comes as the JSON of xgboost, already parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.files import canonical_json

_OBJECTIVES: Mapping[str, Mapping[str, Any]] = {
    "binary:logistic": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
    "survival:cox": {"name": "survival:cox"},
}
_AFT = "survival:aft"
_DISTRIBUTIONS = ("normal", "logistic", "extreme")
_SCALE = re.compile(r"[0-9]\.?[0-9]{0,10}")
_BASE_SCORE = re.compile(r"\[[0-9](\.[0-9]{1,9})?E(-?[0-9]|-[1-3][0-9])\]")
_MAX_TREES = 2000
_MAX_DEPTH = 16
_PER_NODE = {
    "left_children": int,
    "right_children": int,
    "parents": int,
    "split_indices": int,
    "split_type": int,
    "default_left": int,
    "split_conditions": float,
    "base_weights": float,
    "sum_hessian": float,
    "loss_changes": float,
}
_NO_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_NO_PARENT = 2147483647
_LARGEST = {int: float(_NO_PARENT), float: 3e38}


def check_trees(content: Mapping[str, Any]) -> None:
    """Refuse trees whose document or structure is not the one this program writes.

    Raises
    ------
    InputError
        Saying what is wrong, and in which tree.
    """
    learner = _mapping(content, "learner")
    model = _mapping(_mapping(learner, "gradient_booster"), "model")
    trees = _list(model, "trees")
    if not trees or len(trees) > _MAX_TREES:
        raise _bad("no trees, or too many")
    parameters = _mapping(learner, "learner_model_param")
    features, base_score = _whole(parameters, "num_feature"), parameters.get("base_score")
    if not isinstance(base_score, str) or not _BASE_SCORE.fullmatch(base_score):
        raise _bad("base_score is no number")
    objective = _objective(_mapping(learner, "objective"))
    version = _list(content, "version")
    if [type(number) for number in version] != [int, int, int] or version[0] != 3:
        raise _bad("another version of the document")
    expected = _document(len(trees), features, base_score, objective, version)
    # As text, because Python takes 0, 0.0 and false for equal and the library does not.
    for part, found, wanted in _parts(content, expected):
        if canonical_json(found) != canonical_json(wanted):
            raise _bad(f"{part} is not as this program writes it")
    for number, tree in enumerate(trees):
        _check_tree(tree, number, features)


def _objective(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The objective as it must be, its free numbers taken from the document."""
    name = found.get("name")
    if name == _AFT:
        part = _mapping(found, "aft_loss_param")
        shape, scale = part.get("aft_loss_distribution"), part.get("aft_loss_distribution_scale")
        if shape not in _DISTRIBUTIONS or not isinstance(scale, str) or not _SCALE.fullmatch(scale):
            raise _bad("another distribution of the time")
        return {"name": name, "aft_loss_param": {"aft_loss_distribution": shape, "aft_loss_distribution_scale": scale}}
    if not isinstance(name, str) or name not in _OBJECTIVES:
        raise _bad("another kind of objective")
    return _OBJECTIVES[name]


def _document(
    trees: int, features: int, base_score: str, objective: Mapping[str, Any], version: list[int]
) -> dict[str, Any]:
    """The document around the trees."""
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(trees)},
        "iteration_indptr": list(range(trees + 1)),
        "tree_info": [0] * trees,
    }
    parameters = {
        "base_score": base_score,
        # Times have their starting point given.
        "boost_from_average": "0" if objective["name"] == _AFT else "1",
        "num_class": "0",
        "num_feature": str(features),
        "num_target": "1",
    }
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": parameters,
        "objective": objective,
    }
    return {"learner": learner, "version": version}


def _parts(content: Mapping[str, Any], expected: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What to compare, by name, without the trees."""
    learner, booster = content["learner"], content["learner"]["gradient_booster"]
    wanted = expected["learner"]
    model = {key: value for key, value in booster["model"].items() if key != "trees"}
    parts: list[tuple[str, Any, Any]] = [("the document", sorted(content), sorted(expected))]
    parts += [("learner", sorted(learner), sorted(wanted))]
    parts += [(key, learner[key], wanted[key]) for key in wanted if key in learner and key != "gradient_booster"]
    parts += [("gradient_booster", {**booster, "model": None}, {**wanted["gradient_booster"], "model": None})]
    parts += [("model", model, wanted["gradient_booster"]["model"])]
    return parts


def _check_tree(tree: object, number: int, features: int) -> None:
    where = f"tree {number}"
    if not isinstance(tree, dict) or type(tree.get("id")) is not int or tree["id"] != number:
        raise _bad("a tree is out of order", where)
    if set(tree) != {*_PER_NODE, *_NO_CATEGORIES, "id", "tree_param"}:
        raise _bad("a tree has other fields than it should", where)
    size = _mapping(tree, "tree_param")
    nodes, deleted = _whole(size, "num_nodes"), _whole(size, "num_deleted")
    expected = {"num_feature": str(features), "size_leaf_vector": "1"}
    if {**size} != {"num_nodes": str(nodes), "num_deleted": str(deleted), **expected}:
        raise _bad("a tree has other inputs or outputs than the booster", where)
    if any(_list(tree, name) for name in _NO_CATEGORIES):
        raise _bad("a tree splits on categories", where)
    _check_nodes(tree, nodes, where)
    if any(not 0 <= i < features for i in tree["split_indices"]) or any(tree["split_type"]):
        raise _bad("a split points beyond the inputs", where)
    if nodes - _walk(tree, nodes, where) != deleted:
        raise _bad("nodes hang outside of the tree", where)


def _check_nodes(tree: Mapping[str, Any], nodes: int, where: str) -> None:
    """Every array has one number of the right kind and size per node."""
    for name, kind in _PER_NODE.items():
        values = _list(tree, name)
        if len(values) != nodes or not all(type(value) is kind for value in values):
            raise _bad(f"{name} has another length or type than the tree", where)
        if any(abs(value) > _LARGEST[kind] for value in values):
            raise _bad(f"{name} holds a number that is too large", where)
    if any(value <= 0 for value in tree["sum_hessian"]):
        raise _bad("a node has no weight", where)
    if any(value not in (0, 1) for value in tree["default_left"]):
        raise _bad("default_left is neither 0 nor 1", where)


def _walk(tree: Mapping[str, Any], nodes: int, where: str) -> int:
    """Number of nodes from the root on, each of which must be met once."""
    left, right, parents = tree["left_children"], tree["right_children"], tree["parents"]
    if nodes < 1 or parents[0] != _NO_PARENT:
        raise _bad("a tree has no root", where)
    met = {0}
    pending = [(0, 0)]
    while pending:
        node, depth = pending.pop()
        if left[node] == right[node] == -1:
            continue
        for child in (left[node], right[node]):
            if not 0 < child < nodes or child in met or parents[child] != node or depth >= _MAX_DEPTH:
                raise _bad("a tree has a cycle, a stray child, or is too deep", where)
            met.add(child)
            pending.append((child, depth + 1))
    return len(met)


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict):
        raise _bad(f"{key} is missing")
    return value


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list):
        raise _bad(f"{key} is missing")
    return value


def _whole(content: Mapping[str, Any], key: str) -> int:
    """A whole number that xgboost writes as text."""
    value = content.get(key)
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 6:
        raise _bad(f"{key} is no whole number")
    return int(value)


def _bad(what: str, where: str = "") -> InputError:
    return InputError(f"the bundle is refused: {what}", where=f"booster.json{': ' if where else ''}{where}")
