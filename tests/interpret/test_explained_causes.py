"""The causes of a text's last prediction, as `explain` gathers them, and the command that shows them."""

import numpy as np
import pytest

from minilm import interpret
from tests.interpret.fakes import made

TEXT, OTHER = "The cat sat, too: ", "The dog sat, too: "


@pytest.mark.parametrize("kind", ["gpt", "post-norm", "llama", "bert"])
def test_causes_are_those_of_the_functions(kind):
    model, tokenizer = made(kind)
    text, other = ("abc dead bad", "abc head bad") if kind == "bert" else (TEXT, OTHER)
    explanation = interpret.explain(model, tokenizer, text, steps=2, corrupted=other)
    reasons, L = explanation.causes, 2 if kind == "bert" else 3
    assert reasons.ablation.shape == (L, 3) and reasons.patching.shape == (L, len(explanation.ids))
    assert (reasons.direct is None) == (kind not in ("gpt", "llama"))
    if kind == "bert":
        assert reasons.place == len(explanation.ids) - 2 and reasons.answer == explanation.ids[-2]
        return
    options = {"answer": reasons.answer, "foil": reasons.foil}
    wanted = interpret.ablate(model, explanation.ids, **options).effects
    np.testing.assert_allclose(reasons.ablation[:, :2], wanted)
    np.testing.assert_allclose(reasons.patching, interpret.patch(model, explanation.ids, reasons.corrupted, **options).values)
    assert explanation.to_dict()["causes"]["answer"] == reasons.answer


@pytest.mark.parametrize("kind, columns", [("lstm", "i f g o c h"), ("gru", "r z n h"), ("stacked", "i f g o c h")])
def test_causes_of_a_recurrent_model_are_its_gates(kind, columns):
    model, tokenizer = made(kind)
    explanation = interpret.explain(model, tokenizer, TEXT, steps=2, corrupted=OTHER)
    reasons, L = explanation.causes, 1 + (kind == "stacked")
    assert (
        [each[-1] for each in reasons.columns] == columns.split()
        and reasons.direct is None
        and reasons.patched == ("h" if kind == "gru" else "c")
    )
    assert reasons.ablation.shape == (L, len(reasons.columns)) and reasons.patching.shape == (L, len(explanation.ids))
    options = {"answer": reasons.answer, "foil": reasons.foil}
    last = interpret.ablate(model, explanation.ids, component="h", value="mean", **options).effects
    np.testing.assert_allclose(reasons.ablation[:, -1:], last)
    assert "causes" not in explanation.lacks


def test_other_texts_have_as_many_tokens():
    model, tokenizer = made("gpt")
    with pytest.raises(ValueError, match="as many tokens"):
        interpret.explain(model, tokenizer, TEXT, steps=2, corrupted=OTHER + " ")
