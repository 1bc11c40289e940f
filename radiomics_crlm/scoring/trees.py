"""Checks of boosted trees before a library walks them: a cycle would never end, and an index out of range reads
foreign memory.

The trees come as the JSON of xgboost, already parsed. Only what this program writes is admissible: numeric
splits, one output, one tree per round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.errors import InputError

_OBJECTIVES = ("binary:logistic", "survival:cox")
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
_NO_PARENT = 2147483647


def check_trees(content: Mapping[str, Any]) -> None:
    """Refuse trees whose structure is not sound.

    Raises
    ------
    InputError
        Saying what is wrong, and in which tree.
    """
    learner = _mapping(content, "learner")
    booster = _mapping(learner, "gradient_booster")
    if booster.get("name") != "gbtree" or _mapping(learner, "objective").get("name") not in _OBJECTIVES:
        raise _bad("another kind of booster or objective")
    model = _mapping(booster, "model")
    size = _mapping(model, "gbtree_model_param")
    trees = _list(model, "trees")
    if len(trees) > _MAX_TREES or not trees:
        raise _bad("no trees, or too many")
    if _whole(size, "num_trees") != len(trees) or _whole(size, "num_parallel_tree") != 1:
        raise _bad("the number of trees differs from what is declared")
    if _list(model, "iteration_indptr") != list(range(len(trees) + 1)) or _list(model, "tree_info") != [0] * len(trees):
        raise _bad("the trees are not one per round for one output")
    declared = _mapping(learner, "learner_model_param")
    features = _whole(declared, "num_feature")
    if _whole(declared, "num_class") != 0 or _whole(declared, "num_target") != 1:
        raise _bad("the booster has several outputs")
    for number, tree in enumerate(trees):
        _check_tree(tree, number, features)


def _check_tree(tree: object, number: int, features: int) -> None:
    where = f"tree {number}"
    if not isinstance(tree, dict) or tree.get("id") != number:
        raise _bad("a tree is out of order", where)
    size = _mapping(tree, "tree_param")
    nodes = _whole(size, "num_nodes")
    if _whole(size, "num_feature") != features or _whole(size, "size_leaf_vector") > 1:
        raise _bad("a tree has other inputs or outputs than the booster", where)
    if any(_list(tree, name) for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes")):
        raise _bad("a tree splits on categories", where)
    for name, kind in _PER_NODE.items():
        values = _list(tree, name)
        if len(values) != nodes or not all(type(v) is int or (kind is float and type(v) is float) for v in values):
            raise _bad(f"{name} has another length or type than the tree", where)
    if any(not 0 <= i < features for i in tree["split_indices"]) or any(tree["split_type"]):
        raise _bad("a split points beyond the inputs", where)
    reached = _walk(tree, nodes, where)
    if nodes - reached != _whole(size, "num_deleted"):
        raise _bad("nodes hang outside of the tree", where)


def _walk(tree: Mapping[str, Any], nodes: int, where: str) -> int:
    """Number of nodes below the root, each of which must be met once."""
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
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 9:
        raise _bad(f"{key} is no whole number")
    return int(value)


def _bad(what: str, where: str = "") -> InputError:
    return InputError(f"the bundle is refused: {what}", where=f"booster.json{': ' if where else ''}{where}")
