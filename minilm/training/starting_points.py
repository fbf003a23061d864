"""The recipes: settings that a run starts from, by name. `minilm.training.settings` lays a user's settings over them."""

from __future__ import annotations

from typing import Any

from minilm.mistaken import did_you_mean

__all__ = ["RECIPES", "recipe"]

RECIPES: dict[str, dict[str, Any]] = {
    # What `minilm train` alone does: a character LSTM that learns to spell, and how a story goes, in less than a minute.
    "default": {
        "steps": 6000,
        "batch": 8,  # small batches, many steps: 0.70 nats a character where 32 rows give 1.29 in the same time
        "time": 64,
        "model": {"cell": "lstm", "embedding_size": 64, "hidden_size": 256, "forget_bias": 1.0},
        "optimizer": {"name": "adam", "lr": 6e-3, "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup": 0.02},
    },
    # What a budget in minutes starts from: wider than the default, with dropout and decay, since minutes may be many epochs.
    # Three minutes of two cores are limited by steps until the text has been read some ten times, and by the text from then on.
    # After 2.6 million characters of tinyshakespeare Muon has 1.500 nats with 16 rows and 1.504 with 32, which halve the cost of
    # its products, where Adam has 1.582. Three of its iterations gave 1.508 (in bfloat16), five 1.504 (in float32), which is
    # a seed's noise, for 12 % less time; then embeddings of 128 numbers 1.498, since dropout takes some of them; twice the
    # learning rate 1.523. One seed each, on an AMD EPYC (Zen 5, two cores), where bfloat16 makes a step some 1.5 times as fast.
    # Three minutes there: 1.413 to 1.419 nats, four seeds; Adam in float32 with 16 rows and dropout 0.15 had 1.457 to 1.469.
    "minutes": {
        "minutes": 3,
        "batch": 32,
        "time": 64,
        "model": {"cell": "lstm", "embedding_size": 128, "hidden_size": 384, "forget_bias": 1.0, "dropout": 0.35},
        "optimizer": {"name": "muon", "lr": 0.008, "ns_steps": 3, "weight_decay": 0.1, "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup": 0.02},
        "precision": "auto",  # bfloat16 where the processor has it; said when training starts
    },
    # A word-level LSTM in the manner of Zaremba et al. (dropout between the layers, rate divided when validation stalls)
    # with tied weights (Press and Wolf; Merity et al.).
    "words": {
        "epochs": 10,
        "batch": 20,
        "time": 35,
        "tokenizer": {"kind": "word", "vocab_size": 10_000},
        "model": {"cell": "lstm", "embedding_size": 200, "hidden_size": 200, "num_layers": 2, "tied": True, "dropout": 0.3},
        "optimizer": {"name": "adam", "lr": 2e-3, "clip_norm": 0.5},
        "schedule": {"name": "plateau", "factor": 4.0},
        "sample": {"tokens": 120, "temperature": 0.9},
    },
    # nanoGPT's recipe for a character GPT on a CPU, but for the first weights: of deviation 0.02, which is right for GPT-2's
    # width of 768, they give 1.89 nats a character on Shakespeare, of 0.06 they give 1.74.
    "gpt": {
        "steps": 2000,
        "batch": 12,
        "time": 64,
        "model": {
            "model_type": "gpt",
            "n_layer": 4,
            "n_head": 4,
            "n_embd": 128,
            "initializer_range": 0.06,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        "optimizer": {
            "name": "adamw",
            "lr": 1e-3,
            "betas": [0.9, 0.99],
            "weight_decay": 0.1,
            "decay": "matrices",
            "clip_norm": 1.0,
        },
        "schedule": {"name": "cosine", "warmup": 0.05, "final": 0.1},
    },
    # The same budget for Llama's block, with a network of 8/3 D, so that a layer has as many numbers as GPT's, and two heads of
    # keys and values for four of queries.
    "llama": {
        "steps": 2000,
        "batch": 12,
        "time": 64,
        "model": {
            "model_type": "llama",
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.06,
            "rms_norm_eps": 1e-5,
        },
        "optimizer": {
            "name": "adamw",
            "lr": 1e-3,
            "betas": [0.9, 0.99],
            "weight_decay": 0.1,
            "decay": "matrices",
            "clip_norm": 1.0,
        },
        "schedule": {"name": "cosine", "warmup": 0.05, "final": 0.1},
    },
    # A small BERT: masked words and next sentences, as in the paper.
    "bert": {
        "steps": 2000,
        "batch": 32,
        "time": 64,
        "tokenizer": {"kind": "wordpiece", "vocab_size": 2000, "lower": True},
        "model": {
            "model_type": "bert",
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        },
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "decay": "matrices", "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup": 0.1, "final": 0.0},
    },
}


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe; ValueError with the nearest name if there is none."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; {did_you_mean(name, RECIPES)}")
    return RECIPES[name]
