"""Grown forests as plain arrays: what they predict and why, with numpy alone.

The arithmetic shared by forest learners and frozen models. Each row is computed by itself in one fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.evaluation.outcome import Floats

Ints = npt.NDArray[np.int64]
MOST_LEAVES = 128
"""Of one tree."""
# What fits into the cache of a processor.
_CELLS_AT_ONCE = 300_000


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees in one table of nodes; the prediction is the mean of the trees.

    Parameters
    ----------
    roots
        First node of each tree; the nodes of a tree follow each other, children after their parent.
    feature
        Input that a node splits on; -1 for a leaf.
    threshold
        Rows with input <= threshold (in single precision) go left.
    left
        Left child; the right child is the next node. -1 for a leaf.
    value
        nodes x outputs.
    cover
        Training weight that passed each node.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    value: Floats
    cover: Floats

    def leaves(self, X: Floats) -> Ints:
        """Leaf of each row in each tree, n x trees."""
        leaf = self.feature < 0  # leads to itself
        feature, threshold = np.where(leaf, 0, self.feature), np.where(leaf, np.inf, self.threshold)
        left = np.where(leaf, np.arange(leaf.size), self.left)
        inputs = X.astype(np.float32).astype(float)
        rows = np.arange(len(X))[:, None]
        node = np.broadcast_to(self.roots, (len(X), self.roots.size))
        while not leaf[node].all():
            node = left[node] + (inputs[rows, feature[node]] > threshold[node])
        return np.asarray(node)

    def predict(self, X: Floats) -> Floats:
        """Mean over the trees, n x outputs."""
        out = np.empty((len(X), self.value.shape[1]))
        width = max(1, _CELLS_AT_ONCE // self.roots.size)
        for begin in range(0, len(X), width):
            reached = self.leaves(X[begin : begin + width])
            for k in range(out.shape[1]):
                out[begin : begin + width, k] = self.value[:, k][reached].sum(axis=1) / self.roots.size
        return out

    def cut(self, leaves: int) -> Forest:
        """The trees as they were when each had at most this many leaves.

        For trees that were grown best split first (``max_leaf_nodes`` of scikit-learn): nodes are then numbered in the
        order in which they came.
        """
        tree = np.searchsorted(self.roots, np.arange(self.feature.size), side="right") - 1
        late = self.left - self.roots[tree] >= 2 * leaves - 1
        return Forest(
            self.roots,
            np.where(late, -1, self.feature),
            self.threshold,
            np.where(late, -1, self.left),
            self.value,
            self.cover,
        )

    def contributions(self, X: Floats, output: int) -> tuple[Floats, float]:
        """Exact path-dependent TreeSHAP values of one output, n x p, and the base value.

        A leaf is a box. Where inputs are unknown the share of training weight that goes its way stands for them, so
        the game of one leaf is a product over its inputs, and its Shapley values are integrals of polynomials that
        Gauss-Legendre quadrature solves exactly.

        Parameters
        ----------
        X
            n x p.
        output
            Column of ``value``.

        References
        ----------
        Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9.
        """
        boxes = self._boxes
        weight = self.value[boxes.leaf, output] / self.roots.size
        out = np.zeros(X.shape)
        inputs = X.astype(np.float32).astype(float)
        width = max(1, _CELLS_AT_ONCE // max(1, boxes.feature.size))
        for begin in range(0, len(X), width):
            block = slice(begin, begin + width)
            out[block] = _shapley(inputs[block], boxes, weight)
        return out, float(weight @ boxes.share.prod(axis=1))

    @cached_property
    def _boxes(self) -> _Boxes:
        paths: list[dict[int, tuple[float, float, float]]] = [{} for _ in range(self.feature.size)]
        leaf = []
        for node in range(self.feature.size):
            feature, left = int(self.feature[node]), int(self.left[node])
            if feature < 0:
                leaf.append(node)
                continue
            low, high, share = paths[node].get(feature, (-np.inf, np.inf, 1.0))
            threshold = float(self.threshold[node])
            for child, bounds in ((left, (low, min(high, threshold))), (left + 1, (max(low, threshold), high))):
                part = share * float(self.cover[child] / self.cover[node])
                paths[child] = paths[node] | {feature: (*bounds, part)}
        most = max([1, *(len(paths[node]) for node in leaf)])
        feature_of = np.zeros((len(leaf), most), dtype=np.int64)
        low_of, high_of = np.full(feature_of.shape, -np.inf), np.full(feature_of.shape, np.inf)
        share_of = np.ones(feature_of.shape)
        for row, node in enumerate(leaf):
            for column, (feature, (low, high, share)) in enumerate(paths[node].items()):
                feature_of[row, column] = feature
                low_of[row, column], high_of[row, column], share_of[row, column] = low, high, share
        return _Boxes(np.array(leaf, dtype=np.int64), feature_of, low_of, high_of, share_of)


def forest_of(trees: Sequence[Any], values: Sequence[Floats]) -> Forest:
    """Forest of fitted trees of scikit-learn (their ``tree_``) that were grown best split first.

    Parameters
    ----------
    trees
        Fitted trees.
    values
        Value of the nodes of each tree, nodes x outputs.
    """
    sizes = np.array([tree.node_count for tree in trees])
    roots = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    left = np.concatenate([tree.children_left for tree in trees]).astype(np.int64)
    right = np.concatenate([tree.children_right for tree in trees])
    leaf = left < 0
    if (right[~leaf] != left[~leaf] + 1).any():
        raise CrlmError("the nodes of a tree are numbered in another order than expected", where="forest")
    return Forest(
        roots,
        np.where(leaf, -1, np.concatenate([tree.feature for tree in trees])),
        np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees])),
        np.where(leaf, -1, left + np.repeat(roots, sizes)),
        np.concatenate(values),
        np.concatenate([tree.weighted_n_node_samples for tree in trees]),
    )


def spoken(known: Sequence[float], predicted: Floats, months: Sequence[float]) -> Floats:
    """Columns of ``predicted`` (n x len(known)) that belong to each of ``months``; NaN where there is none."""
    out = np.full((len(predicted), len(months)), np.nan)
    for column, month in enumerate(months):
        if month in known:
            out[:, column] = predicted[:, list(known).index(month)]
    return out


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Leaves as boxes: per leaf and input on its way the interval (low, high] and the share of weight that stays in it.

    Leaves with fewer inputs are filled up with an interval that holds everything.
    """

    leaf: Ints
    feature: Ints
    low: Floats
    high: Floats
    share: Floats


def _shapley(X: Floats, boxes: _Boxes, weight: Floats) -> Floats:
    """Sum over the leaves of the Shapley values of ``weight * product``, n x p."""
    # Inputs of a leaf come first, so that their products run over whole arrays.
    low, high, share = boxes.low.T[:, None], boxes.high.T[:, None], boxes.share.T[:, None]
    given = np.ascontiguousarray(X.T[boxes.feature.T].transpose(0, 2, 1))
    inside = ((given > low) & (given <= high)).astype(float)
    # Integral over t of the product of t * inside + (1 - t) * share over the other inputs: degree = inputs - 1.
    nodes, weights = np.polynomial.legendre.leggauss(boxes.feature.shape[1] // 2 + 1)
    total, factor = np.zeros(inside.shape), np.empty(inside.shape)
    for t, w in zip(0.5 * (nodes + 1.0), 0.5 * weights, strict=True):
        np.multiply(inside, t, out=factor)
        factor += (1.0 - t) * share
        product = factor.prod(axis=0)
        product *= w
        np.divide(product, factor, out=factor)
        total += factor
    inside -= share
    inside *= weight
    total *= inside
    found = total.transpose(1, 2, 0).reshape(len(X), -1)
    order = np.argsort(boxes.feature.ravel(), kind="stable")
    met, start = np.unique(boxes.feature.ravel()[order], return_index=True)
    out = np.zeros(X.shape)
    out[:, met] = np.add.reduceat(found[:, order], start, axis=1)
    return out
