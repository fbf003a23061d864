"""Ten short scripts, each a screen long: ``python -m minilm.examples.own_op``, and ``minilm show own_op`` prints it.

==============  =======================================================================================
own_op          a function and its gradient, held against finite differences: RMSNorm
own_layer       parameters, and a backward that calls those of the layers inside: a highway layer
own_model       a model and its training loop, with a callback: Bengio's network over the last words
own_data        texts from rows of a table, two of them mixed three to one
fine_tuning     a run goes on with another text: all weights, and LoRA's alone
probing         what can be read off the activations of each layer
patching        which layer carries a fact from one text to the next
data_parallel   the same bits on one process and on several: under ``mpiexec -n 2``
quantised       weights in 8 bits: what is lost, and how many bytes remain
converting      weights of another program, whose gates stand in another order
==============  =======================================================================================

Each has a function ``main`` that prints what it does and returns it; the tests run it with fewer steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minilm import models, tokenizers

__all__ = ["EXAMPLES", "trained_gpt"]

EXAMPLES = (
    "own_op",
    "own_layer",
    "own_model",
    "own_data",
    "fine_tuning",
    "probing",
    "patching",
    "data_parallel",
    "quantised",
    "converting",
)


def trained_gpt(steps: int) -> tuple[models.GPT, tokenizers.Character]:
    """A small GPT of characters that has read the built-in stories for some steps: what several of the scripts look into."""
    from minilm import data, models, optimizers, tokenizers  # not with the names above, which `minilm show` lists

    text = data.text("stories")
    tokenizer = tokenizers.Character.train_from_chunks(text)
    config = models.GPTConfig(tokenizer.vocab_size, n_positions=64, n_embd=64, n_layer=2, n_head=4, initializer_range=0.06)
    model = models.GPT(config, seed=0)
    adam = optimizers.AdamW(model.parameters, lr=3e-3, clip_norm=1.0)
    batches = data.batches(data.tokens(text, tokenizer), batch=8, time=64, seed=0)
    for step in range(steps):
        loss, saved = model.forward(*batches.batch(step))
        model.backward(saved)
        adam.step()
        if step % 100 == 0:
            print(f"step {step:4}  loss {float(loss):.3f}")
    return model, tokenizer


def __dir__() -> list[str]:
    return sorted(__all__)
