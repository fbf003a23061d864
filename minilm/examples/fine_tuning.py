"""Fine-tuning: a model that has learned one text goes on with another, with all of its weights, and with LoRA's alone.

On the command line the first is ``minilm train --init-from RUN --corpus FILE``; a pretrained model's folder, or its name on the
Hugging Face Hub, does as well as a run. LoRA leaves the weights as they are and learns a small change of some of them, which is
kept in a file of its own.
"""

from __future__ import annotations

import os
import tempfile

from minilm import data, optimizers, training
from minilm.models import lora

TEXT = "The old ferry waited in the fog, and nobody came. " * 200
SETTINGS = {"model.model_type": "gpt", "model.n_layer": 2, "model.n_embd": 64, "batch": 8, "sample.tokens": 0}


def main(steps: int = 300) -> dict[str, float]:
    """Train on stories, go on with another text in two ways; the loss of each on that text, in nats a character."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = os.path.join(folder, "first"), os.path.join(folder, "second")
        training.train(training.configuration(options={**SETTINGS, "steps": steps}), out=first)
        parent = training.load_run(first)

        text = data.text([TEXT])
        tokens = data.tokens(text, parent.tokenizer)
        losses = {"before": training.evaluate(parent.model, tokens).loss}

        options = {"init_from": first, "corpus": text.path, "steps": steps // 3, "sample.tokens": 0}
        training.train(training.configuration(options=options), out=second)
        losses["all weights"] = training.evaluate(training.load_run(second).model, tokens).loss

        model = parent.model
        names = lora.add(model, rank=4, targets=("c_attn", "c_fc"))
        model.freeze(lambda name: not lora.is_adapter(name))  # the others get no gradient, nor the work for one
        adam = optimizers.AdamW(model.parameters, lr=3e-3)
        batches = data.batches(tokens, batch=8, time=64, seed=0)
        for step in range(steps // 3):
            _, saved = model.forward(*batches.batch(step))
            model.backward(saved)
            adam.step()
        losses["LoRA"] = training.evaluate(model, tokens).loss
        lora.save(model, os.path.join(folder, "adapter"))

    small = sum(value.size for name, value in model.parameters.items() if lora.is_adapter(name))
    print(f"LoRA in {len(names)} layers: {small:,} of {model.parameters.count:,} numbers learn")
    for name, loss in losses.items():
        print(f"{name:12} {loss:.3f}")
    return losses


if __name__ == "__main__":
    main()
