"""Trains the models of `RUNS` into a folder, with the ranks that mpiexec started, or alone.

``python -m tests.distributed.trained FOLDER CORPUS STEPS NAME ...``
"""

import os
import sys

from minilm import distributed, recipes, training
from minilm.distributed import reduction

SHARED = {"micro_shards": 4, "batch": 8, "log_every": 2, "sample": {"tokens": 0}, "checkpoint_seconds": "none"}
ADAMW = {"name": "adamw", "weight_decay": 0.1, "decay": "matrices", "clip_norm": 0.5}
LSTM = {"embedding_size": 12, "hidden_size": 24, "num_layers": 2, "dropout": 0.2}
GPT = {"model_type": "gpt", "n_layer": 2, "n_head": 2, "n_embd": 32, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
BERT = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
RUNS = {
    "lstm": {"time": 16, "model": LSTM, "accumulate": 2, "average": 0.9, "optimizer": {"clip_norm": 0.5}},
    "gpt": {"time": 16, "model": GPT, "optimizer": ADAMW},
    "bert": {"time": 16, "model": BERT, "optimizer": ADAMW, "tokenizer": {"kind": "wordpiece", "vocab_size": 120}},
}


def main(folder, corpus, steps, *names):
    """Those of these names; "-sharded" after a name shards the optimizer, "seq2seq" is a recipe's."""
    reduction.BUCKET = 4096  # so that there are several
    for name in names:
        out = os.path.join(folder, name)
        kind, _, sharded = name.partition("-")
        if kind == "seq2seq":
            recipe = recipes.load("translate")(batch=10, micro_shards=4, steps=int(steps), dropout=0.2, evaluate_examples=4)
            recipe.options.update(evaluate_every=10**6)
            recipe.run(out=out, progress=False)
        else:
            settings = {**SHARED, **RUNS[kind], "corpus": corpus, "steps": int(steps), "shard_optimizer": bool(sharded)}
            training.train(training.configuration(kind if kind in training.RECIPES else None, options=settings), out=out)


if __name__ == "__main__":
    with distributed.job():
        main(*sys.argv[1:])
