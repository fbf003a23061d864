"""The models of `benchmarks.cases_tasks` in the libraries of their field, as their users call them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import numpy as np

BERT_NAMES = {  # minilm's names in a block -> those of transformers
    "ln_1": "attention.output.LayerNorm",
    "attn.query": "attention.self.query",
    "attn.key": "attention.self.key",
    "attn.value": "attention.self.value",
    "attn.c_proj": "attention.output.dense",
    "ln_2": "output.LayerNorm",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
}


def bert(transformers, torch, config, weights: dict):
    """transformers' encoder with the same numbers."""
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings = transformers.BertConfig(**{name: getattr(config, name) for name in names}, **dropout)
    model = transformers.BertModel(settings, add_pooling_layer=False)
    state = {}
    for name, value in weights.items():
        for own, peer in BERT_NAMES.items():
            name = name.replace(f".{own}.", f".{peer}.") if name.startswith("encoder.layer.") else name
        state[name] = torch.from_numpy(value.copy())
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [name for name in missing if "position_ids" not in name]:
        raise ValueError(f"transformers' BERT has other weights: {[*missing, *unexpected][:3]}")
    return model


def bert_step(transformers, config, weights: dict, ids, dy, torch, prepare) -> Callable:
    """Forward and backward; returns the output."""
    model = bert(transformers, torch, config, weights)
    call, ids, dy = prepare(model), torch.from_numpy(ids), torch.from_numpy(dy)

    def step():
        model.zero_grad(set_to_none=True)
        y = call(input_ids=ids).last_hidden_state
        y.backward(dy.to(y.dtype))
        return y

    return step


def word2vec(gensim, algorithm: str, ids: np.ndarray, settings: dict) -> Callable:
    """A pass over sentences (S, T) of words, in one thread."""
    sentences = [list(map(str, sentence)) for sentence in ids]
    model = gensim.models.Word2Vec(
        vector_size=settings["size"],
        window=settings["window"],
        negative=settings["negatives"],
        sample=settings["subsample"],
        sg=int(algorithm == "skip-gram"),
        min_count=1,
        workers=1,
        seed=0,
    )
    model.build_vocab(sentences)
    return lambda: model.train(sentences, total_examples=len(sentences), epochs=1)


def crf_iteration(pycrfsuite, features: np.ndarray, tags: np.ndarray) -> Callable[[], float]:
    """Seconds of one evaluation of the loss and its gradient: those that crfsuite itself prints of its training by L-BFGS."""
    sequences = [
        ([list(map(str, active)) for active in sentence], list(map(str, labels)))
        for sentence, labels in zip(features, tags, strict=True)
    ]

    def sample() -> float:
        trainer = pycrfsuite.Trainer(verbose=False)
        trainer.set_params(
            {"max_iterations": 10, "feature.possible_states": True, "feature.possible_transitions": True, "c2": 1.0}
        )
        for words, labels in sequences:
            trainer.append(words, labels)
        with tempfile.TemporaryDirectory() as folder:
            trainer.train(os.path.join(folder, "model"))
        done = trainer.logparser.iterations
        trials = sum(max(1, int(each.get("linesearch_trials") or 1)) for each in done)
        return max(sum(float(each["time"]) for each in done), 1e-6) / trials

    return sample


def memory_step(settings: dict, weights: dict, batch: tuple, torch, prepare) -> Callable:
    """A training step of an end-to-end memory network with adjacent tables, position encoding and ages; loss and norm."""
    story, question, answers = (torch.from_numpy(part) for part in batch)
    hops, D = settings["hops"], settings["embed_dim"]
    parameters = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in weights.items()}
    adam = torch.optim.Adam(parameters.values(), lr=1e-3, fused=True)

    def encoding(J):
        j, d = torch.arange(1, J + 1)[:, None] / J, torch.arange(1, D + 1)[None] / D  # (J, 1), (1, D)
        return (1 - j) - d * (1 - 2 * j)

    of_story, of_question = encoding(story.shape[2]), encoding(question.shape[1])
    ages = torch.arange(story.shape[1] - 1, -1, -1)  # (M,)

    def logits():
        tables = [parameters[f"tables.{k}.weight"] for k in range(hops + 1)]
        memories = [
            (torch.nn.functional.embedding(story, table) * of_story).sum(2) + parameters[f"times.{k}.weight"][ages]
            for k, table in enumerate(tables)
        ]  # (B, M, D) each
        u = (torch.nn.functional.embedding(question, tables[0]) * of_question).sum(1)  # (B, D)
        for k in range(hops):
            p = torch.softmax((memories[k] @ u[:, :, None])[:, :, 0], -1)  # (B, M)
            u = u + (p[:, None] @ memories[k + 1])[:, 0]
        return u @ tables[-1].T

    call = prepare(logits)

    def step():
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(call(), answers)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), 40.0)
        adam.step()
        return loss.item(), norm.item()

    return step
