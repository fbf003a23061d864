r"""The fixed tree in which the gradients of micro-shards are summed.

Floating-point addition is not associative, so a sum has the same bits on any number of ranks only if the order of its additions
does not depend on them. A batch is cut into S micro-shards, and their gradients :math:`g_0, \dots, g_{S-1}` are the leaves of a
binary tree that depends on S alone. The node of level l and place i covers the leaves of :math:`[2^l i, \min(2^l (i+1), S))`:

.. math:: G_{0,i} = g_i, \qquad G_{l+1,i} = G_{l,2i} + G_{l,2i+1}

where a node without a right child is its left child. With S = 6::

                 +
            /         \
          +             \
        /   \             \
       +     +             +
      / \   / \           / \
     g0 g1 g2 g3         g4 g5

A rank owns a contiguous range of leaves. It sums what it can alone: the largest subtrees in its range, a few at most (one, where
the ranks are a power of two that divides S). The subtrees' sums of all ranks are added later, in the order of the same tree. So
each addition is made once, by somebody, on the same two operands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Node", "Tree"]


class Node(NamedTuple):
    """A subtree, by the leaves [start, stop) that it covers."""

    start: int
    stop: int


class Tree(NamedTuple):
    """The tree over S leaves, spread over R ranks.

    Parameters
    ----------
    leaves : int
        S, the micro-shards of a batch.
    ranks : int
        R <= S.

    Examples
    --------
    >>> tree = Tree(leaves=8, ranks=3)
    >>> [tree.nodes(rank) for rank in range(3)]
    [[Node(start=0, stop=2)], [Node(start=2, stop=4), Node(start=4, stop=5)], [Node(start=5, stop=6), Node(start=6, stop=8)]]
    >>> tree.additions([Node(0, 2), Node(2, 4), Node(4, 8)])
    [(0, 1), (0, 2)]
    """

    leaves: int
    ranks: int = 1

    def owned(self, rank: int) -> range:
        """The leaves of a rank: as many as any other has, or one more or less.

        Parameters
        ----------
        rank : int
            0 <= rank < R.

        Returns
        -------
        range
        """
        return range(rank * self.leaves // self.ranks, (rank + 1) * self.leaves // self.ranks)

    def nodes(self, rank: int) -> list[Node]:
        """The subtrees that a rank sums alone.

        Parameters
        ----------
        rank : int
            0 <= rank < R.

        Returns
        -------
        list of Node
            The largest that lie in its range, in the order of their leaves.
        """
        owned, nodes = self.owned(rank), []
        start = owned.start
        while start < owned.stop:
            node = Node(start, start + 1)
            while (parent := self._parent(node)) != node and parent.start == start and parent.stop <= owned.stop:
                node = parent
            nodes.append(node)
            start = node.stop
        return nodes

    def all_nodes(self) -> list[Node]:
        """The subtrees of all ranks, in the order of their leaves."""
        return [node for rank in range(self.ranks) for node in self.nodes(rank)]

    def additions(self, nodes: Iterable[Node]) -> list[tuple[int, int]]:
        """How neighbouring subtrees are added, as far as the tree has a node for their sum.

        Parameters
        ----------
        nodes : iterable of Node
            In the order of their leaves, each beginning where the one before it ends.

        Returns
        -------
        list of (into, number)
            One after another: to the sum of subtree `into` add that of subtree `number`. A subtree to which nothing is
            added any more, and which is added to none, stays as a sum of its own.
        """
        additions, stack = [], []  # of (node, number)
        for number, node in enumerate(nodes):
            while stack and self._siblings(stack[-1][0], node):
                left, into = stack.pop()
                additions.append((into, number))
                node, number = Node(left.start, node.stop), into
            stack.append((node, number))
        return additions

    def _parent(self, node: Node) -> Node:
        """The smallest node that is larger; the root's is itself."""
        span = 1
        while (wide := self._covering(node.start, span)) == node or wide.stop < node.stop:
            if span >= self.leaves:
                return node
            span *= 2
        return wide

    def _covering(self, leaf: int, span: int) -> Node:
        start = leaf // span * span
        return Node(start, min(start + span, self.leaves))

    def _siblings(self, left: Node, right: Node) -> bool:
        parent = self._parent(left)
        return left.stop == right.start and parent == Node(left.start, right.stop)
