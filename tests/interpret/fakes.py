"""Small models with weights that make a difference, and their tokenizers."""

import numpy as np

from minilm import models, tokenizers

TEXT = "The cat sat on the mat.\nThe dog sat, too: <b>&</script> $x_1$\n"
CAUSAL = ("rnn", "lstm", "gru", "stacked", "gpt", "post-norm")
ALL = (*CAUSAL, "bert")


def made(kind, dtype=np.float64, seed=0):
    """(model, tokenizer) of a kind."""
    rng = np.random.default_rng(seed)
    tokenizer = tokenizers.Character(TEXT)
    V = tokenizer.vocab_size
    if kind == "bert":
        tokenizer = tokenizers.WordPiece(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{c}" for c in "abcdefghij")]
        )
        config = models.BERTConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
            max_position_embeddings=16, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        )  # fmt: skip
        model = models.BERTForPreTraining(config, dtype=dtype)
    elif kind in ("gpt", "post-norm"):
        config = models.GPTConfig(
            vocab_size=V, n_positions=40, n_embd=8, n_layer=3, n_head=2, norm_first=kind == "gpt", activation_function="gelu"
        )
        model = models.GPT(config, dtype=dtype)
    elif kind == "llama":
        sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2}
        model = models.Llama(
            models.LlamaConfig(vocab_size=V, max_position_embeddings=40, num_key_value_heads=1, **sizes), dtype=dtype
        )
    else:
        more = {"num_layers": 2, "tied": True, "layer_norm": True, "hidden_size": 7} if kind == "stacked" else {}
        cell = "lstm" if kind == "stacked" else kind
        settings = {"vocab_size": V, "embedding_size": 5, "hidden_size": 6, "cell": cell, **more}
        model = models.RNNLanguageModel(models.RNNLanguageModelConfig(**settings), dtype=dtype)
    for name, value in model.parameters.items():
        if value.ndim > 1 and "weight" in name:
            value[...] = rng.normal(0, 0.5, value.shape)
        elif value.ndim == 1 and "bias" in name:
            value[...] = rng.normal(0, 0.1, value.shape)
    return model, tokenizer


def ids_of(kind, tokenizer):
    """A short text as ids, (T,)."""
    if kind == "bert":
        return np.asarray(tokenizer.encode_pair("abc dead bad").input_ids, np.int64)
    return np.asarray(tokenizer.encode("The cat sat, too: "), np.int64)
