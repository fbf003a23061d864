"""Formulas as the sources have them, in LaTeX: names, words, where a line may break, and what it defines."""

import re

import pytest

pytest.importorskip("docutils")
pytest.importorskip("latex2mathml")
pytest.importorskip("pygments")

from minilm.book import formulas  # noqa: E402


def test_a_long_formula_is_cut_where_its_line_may_break():
    cell = "dS[i, u] = sum_j dP[i, j] ([u = j] - P[i, u] + 0) = P[i, u] dP[i, u] + D[i]"
    assert formulas.pieces(cell) == ["dS[i, u] = sum_j dP[i, j] ([u = j] - P[i, u] + 0)", "= P[i, u] dP[i, u]", "+ D[i]"]
    assert formulas.pieces("a = b = c + d") == ["a = b = c + d"]


def test_a_hyphen_is_no_minus():
    assert r"\text{ cross-entropy of all }" in formulas.latex("loss = mean cross-entropy of all", {"loss"})
    assert r"\text" not in formulas.latex("dx[i] - mean", {"x", "mean"})


@pytest.mark.parametrize(
    "cell, wanted",
    [
        ("c[t] = f c' + i g", r"c_{t } = f \, c^{\prime } + i \, g "),
        ("W_hhᵀ da", r"W_{\mathit{hh}}^{\top } \, \mathrm{d}a "),
        ("1 / sqrt(var + eps)", r"1 / \sqrt{\mathit{var} + \varepsilon }"),
        ("sum_d x[d] / D", r"\sum_{d} x_{d } / D "),
        ("(x[d] - mean)² / D", r"(x_{d } - \mathit{mean} )^{2} / D "),
        ("[i = j]", r"[i = j ]"),
        ("0 where t = ignore_index", r"0\text{ where }t = \mathit{ignore\_index} "),
        ("√(2/π)", r"\sqrt{2/\pi }"),
        ("q kᵀ / √K", r"q \, k^{\top } / \sqrt{K}"),
    ],
)
def test_plain_formulas_in_latex(cell, wanted):
    names = {"var", "mean", "rstd", "W_hh", "b_ih", "ignore_index"}

    def squeezed(text):
        return re.sub(r"\s+", "", text)

    assert squeezed(formulas.latex(cell, names)) == squeezed(wanted)


def test_rows_and_what_they_define():
    rows = formulas.rows("    dW_ih = sum da x    db_ih = db_hh = sum da\n    param -= lr g       the step\n")
    assert [row.defines for row in rows] == [("dW_ih", "db_ih", "db_hh"), ("param",)]
    assert rows[1][1] == "the step"
