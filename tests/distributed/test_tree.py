"""The tree of sums is one tree, however many ranks share it."""

from hypothesis import given
from hypothesis import strategies as st

from minilm.distributed import Node, Tree


def added_up(tree, nodes, terms):
    """The terms that are left when neighbouring ones are added as the tree says, each written out."""
    terms, gone = list(terms), set()
    for into, number in tree.additions(nodes):
        assert into not in gone and number not in gone
        terms[into] = f"({terms[into]} + {terms[number]})"
        gone.add(number)
    return [term for number, term in enumerate(terms) if number not in gone]


def sum_of(tree):
    """The formula of the sum: first what each rank adds alone, then the rest."""
    terms = []
    for rank in range(tree.ranks):
        leaves = [Node(leaf, leaf + 1) for leaf in tree.owned(rank)]
        own = added_up(tree, leaves, [str(leaf.start) for leaf in leaves])
        assert len(own) == len(tree.nodes(rank))
        terms += own
    (formula,) = added_up(tree, tree.all_nodes(), terms)
    return formula


@given(st.integers(1, 70).flatmap(lambda leaves: st.tuples(st.just(leaves), st.integers(1, leaves))))
def test_one_formula_for_any_number_of_ranks(sizes):
    leaves, ranks = sizes
    assert sum_of(Tree(leaves, ranks)) == sum_of(Tree(leaves, 1))


def test_the_formula():
    assert sum_of(Tree(6, 4)) == "(((0 + 1) + (2 + 3)) + (4 + 5))"
    assert sum_of(Tree(5, 2)) == "(((0 + 1) + (2 + 3)) + 4)"


@given(st.integers(1, 6), st.integers(0, 4))
def test_powers_of_two_send_one_sum_a_rank(power, fewer):
    tree = Tree(2**power, 2 ** max(0, power - fewer))
    assert [len(tree.nodes(rank)) for rank in range(tree.ranks)] == [1] * tree.ranks


@given(st.integers(1, 50).flatmap(lambda leaves: st.tuples(st.just(leaves), st.integers(1, leaves))))
def test_all_leaves_are_owned_once(sizes):
    tree = Tree(*sizes)
    assert [leaf for rank in range(tree.ranks) for leaf in tree.owned(rank)] == list(range(tree.leaves))
    assert {len(tree.owned(rank)) for rank in range(tree.ranks)} <= {tree.leaves // tree.ranks, -(-tree.leaves // tree.ranks)}
