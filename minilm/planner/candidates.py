"""The models that can do a task, in several sizes, each with its cost and the command that trains it.

A candidate's step is the command's, with the recipe's batch and window. `minilm.planner.choose` adds the minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minilm import recipes
from minilm.planner import cost
from minilm.planner.cost import Cost
from minilm.training.starting_points import RECIPES

__all__ = ["TASKS", "Candidate", "Data", "candidates"]


class Data(NamedTuple):
    """How much there is to learn from."""

    examples: int  # texts, pairs, sentences; for language models 1
    tokens: int  # in all, sources and targets together
    vocabulary: int
    source: str = ""  # where these numbers come from

    @property
    def length(self) -> int:
        """Mean tokens of an example."""
        return max(1, round(self.tokens / max(1, self.examples)))


class Candidate(NamedTuple):
    """A model of a size."""

    model: str
    settings: dict
    cost: Cost  # of a step
    tokens: int  # that a step reads
    body: int  # parameters without tables of embeddings and output: what the scaling law counts
    command: str
    order: int  # of preference where all else is equal, 0 first
    remark: str  # what speaks for it
    blind: float = 0.0  # what it cannot see, in the units of the score


def _command(task: str, settings: dict, where: str, batch: int) -> str:
    """The command of a recipe, its batch included, which large data may change otherwise: a step is to be what it costs here."""
    return f"minilm recipe {task} --data {where}{_sets({**settings, 'batch': batch})}"


def _batch(task: str) -> int:
    """Examples of a recipe's step."""
    return recipes.load(task).defaults()["batch"]


# --- language models -------------------------------------------------------------------------------------------------


def language_models(data: Data, where: str) -> list[Candidate]:
    """LSTM, GRU and GPT."""
    candidates, V, optimizer = [], data.vocabulary, RECIPES["minutes"]["optimizer"]
    for kind, remark in (("lstm", "learns fast from little text"), ("gru", "a quarter less work than an LSTM of its width")):
        for H, layers in ((64, 1), (128, 1), (256, 1), (512, 1), (512, 2), (1024, 2), (1536, 2)):
            T, B, E = RECIPES["minutes"]["time"], RECIPES["minutes"]["batch"], min(H, 512)
            N = T * B
            body = cost.recurrent(kind, T, B, E, H, layers)
            parts = [cost.embedding(N, V, E), body, cost.linear(N, H, V), cost.softmax(N, V)]
            if optimizer["name"] == "muon":
                parts.append(cost.muon(kind, E, H, layers, optimizer["ns_steps"]))
            settings = {"model.hidden_size": H, "model.num_layers": layers, "model.embedding_size": E}
            command = f"minilm train --corpus {where} --model {kind}" + _sets(settings)
            order = 0 if kind == "lstm" else 1
            candidates.append(Candidate(kind, settings, cost.total(parts), N, body.parameters, command, order, remark))
    for D, layers, heads in ((64, 2, 2), (128, 4, 4), (192, 6, 6), (256, 6, 8), (384, 6, 6), (512, 8, 8), (768, 12, 12)):
        T, B = RECIPES["gpt"]["time"], RECIPES["gpt"]["batch"]
        N = T * B
        blocks = layers * cost.block(B, T, D, heads, True)
        head = cost.linear(N, D, V, shared=True, bias=False)
        parts = [cost.embedding(N, V, D), cost.embedding(N, T, D), blocks, cost.norm(N, D), head, cost.softmax(N, V)]
        settings = {"model.n_embd": D, "model.n_layer": layers, "model.n_head": heads}
        command = f"minilm train --corpus {where} --model gpt" + _sets(settings)
        remark = "uses long contexts and large data best"
        candidates.append(Candidate("gpt", settings, cost.total(parts), N, blocks.parameters, command, 2, remark))
    return candidates


def _sets(settings: dict) -> str:
    return "".join(f" --set {key}={value}" for key, value in settings.items())


# --- one text into another -------------------------------------------------------------------------------------------


def encoder_decoders(data: Data, where: str, task: str) -> list[Candidate]:
    """LSTM and GRU with attention, and the transformer."""
    candidates, V, B = [], data.vocabulary, _batch(task)
    T = max(2, min(256, data.length // 2))  # of either side
    N = B * T
    for kind in ("lstm", "gru"):
        for H, layers in ((64, 1), (128, 1), (256, 1), (512, 1), (512, 2)):
            E = min(H, 128)
            body = cost.recurrent(kind, T, B, E, H // 2, layers, both=True) + cost.recurrent(kind, T, B, E, H, layers)
            body += cost.decoder_attention(B, T, T, H)
            parts = [2 * cost.embedding(N, V, E), body, cost.linear(N, H, V), cost.softmax(N, V)]
            settings = {"model": kind, "hidden_size": H, "embedding_size": E, "layers": layers}
            remark = "attention shows which words it read; best where pairs are few"
            order = 0 if kind == "lstm" else 1
            candidate = Candidate(
                kind, settings, cost.total(parts), 2 * N, body.parameters, _command(task, settings, where, B), order, remark
            )
            candidates.append(candidate)
    for D, layers, heads in ((64, 2, 4), (128, 2, 4), (256, 3, 8), (512, 4, 8), (512, 6, 8)):
        encoder = layers * cost.block(B, T, D, heads, False)
        across = cost.attention(B, T, T, D, heads, False) + cost.norm(N, D)
        body = encoder + layers * (cost.block(B, T, D, heads, True) + across)
        parts = [2 * cost.embedding(N, V, D), body, cost.linear(N, D, V, shared=True), cost.softmax(N, V)]
        settings = {"model": "transformer", "hidden_size": D, "layers": layers, "heads": heads}
        remark = "best where pairs are many"
        command = _command(task, settings, where, B)
        candidates.append(Candidate("transformer", settings, cost.total(parts), 2 * N, body.parameters, command, 2, remark))
    return candidates


# --- labels, of texts and of words -----------------------------------------------------------------------------------


def classifiers(data: Data, where: str, task: str = "sentiment") -> list[Candidate]:
    """Mean of words and n-grams, LSTM and GRU in both directions; a BERT is another matter, see `choose`."""
    candidates, V, B, C = [], data.vocabulary, _batch(task), 2
    T = max(1, min(256, data.length))
    N = B * T
    for D in (64, 128):
        parts = [cost.embedding(2 * N, V + 2**16, D), cost.linear(B, D, D), cost.linear(B, D, C), cost.softmax(B, C)]
        settings = {"model": "words", "embedding_size": D}
        remark = "counts words and pairs of words: no order beyond that, and hard to beat on a few hundred texts"
        candidates.append(
            Candidate("words", settings, cost.total(parts), N, D * D, _command(task, settings, where, B), 2, remark, blind=0.3)
        )
    for kind in ("lstm", "gru"):
        for H in (32, 64, 128, 256):
            body = cost.recurrent(kind, T, B, H, H, both=True)
            pooled = cost.linear(N, 2 * H, H) + Cost(moved=6.0 * 4 * N * 2 * H, exponentials=N, calls=6)
            parts = [cost.embedding(N, V, H), body, pooled, cost.linear(B, 2 * H, C), cost.softmax(B, C)]
            settings = {"model": kind, "embedding_size": H, "hidden_size": H}
            remark = "reads the words in order, and shows which it attends to"
            order = 0 if kind == "lstm" else 1
            command = _command(task, settings, where, B)
            candidates.append(Candidate(kind, settings, cost.total(parts), N, body.parameters, command, order, remark))
    return candidates


def taggers(data: Data, where: str) -> list[Candidate]:
    """LSTM and GRU in both directions under a linear-chain CRF."""
    candidates, V, B, C = [], data.vocabulary, _batch("tag"), 12
    T = max(1, min(256, data.length))
    N = B * T
    for kind in ("lstm", "gru"):
        for H in (32, 64, 128, 256):
            body = cost.recurrent(kind, T, B, H, H, both=True)
            chain = Cost(C * C, exponentials=4.0 * N * C * C, calls=6)
            parts = [cost.embedding(N, V, H), body, cost.linear(N, 2 * H, C), chain]
            settings = {"cell": kind, "embedding_size": H, "hidden_size": H}
            remark = "the CRF sees to it that labels follow one another as they may"
            command, order = _command("tag", settings, where, B), 0 if kind == "lstm" else 1
            candidates.append(Candidate(f"{kind} + crf", settings, cost.total(parts), N, body.parameters, command, order, remark))
    return candidates


def readers(data: Data, where: str) -> list[Candidate]:
    """The reader of a passage and a question, and the memory network for stories; a BERT is another matter, see `choose`."""
    candidates, V, B = [], data.vocabulary, _batch("answer")
    T = max(2, min(300, data.length))
    N = B * T
    for H in (32, 64, 128, 256):
        body = 2 * cost.recurrent("lstm", T, B, H, H, both=True) + cost.decoder_attention(B, T, max(2, T // 8), H)
        parts = [cost.embedding(N, V, H), body, cost.linear(N, 2 * H, 2), cost.softmax(B, 2 * T)]
        settings = {"model": "reader", "embedding_size": H, "hidden_size": H}
        remark = "points at where in the passage the answer stands"
        command = _command("answer", settings, where, B)
        candidates.append(Candidate("lstm reader", settings, cost.total(parts), N, body.parameters, command, 0, remark))
    for D in (32, 64):
        tables = 4 * cost.embedding(N, V, D)
        parts = [tables, Cost(products=3 * 4.0 * N * D, calls=40), cost.linear(B, D, V), cost.softmax(B, V)]
        settings = {"model": "memory", "hidden_size": D}
        remark = "for stories of short sentences whose answer is one word"
        command = _command("answer", settings, where, B)
        candidates.append(Candidate("memory network", settings, cost.total(parts), N, D * D, command, 1, remark, blind=0.3))
    return candidates


def word_vectors(data: Data, where: str) -> list[Candidate]:
    """Skip-gram and CBOW."""
    candidates, words = [], 20_000
    for algorithm, remark in (("skip-gram", "better for rare words"), ("cbow", "several times as fast")):
        for D in (50, 100, 200, 300):
            settings = {"algorithm": algorithm, "size": D}
            work = cost.word2vec(words, data.vocabulary, D, 5, 5, algorithm == "cbow")
            order = 0 if algorithm == "skip-gram" else 1
            command = f"minilm recipe vectors --data {where}{_sets(settings)}"
            candidates.append(Candidate(algorithm, settings, work, words, work.parameters, command, order, remark))
    return candidates


class Task(NamedTuple):
    """What is to be done."""

    candidates: Callable[[Data, str], list[Candidate]]
    unit: str  # of an example
    passes: int  # over the data that training usually takes


TASKS = {
    "language-model": Task(language_models, "text", 10),
    "translate": Task(lambda data, where: encoder_decoders(data, where, "translate"), "pair", 15),
    "summarise": Task(lambda data, where: encoder_decoders(data, where, "summarise"), "pair", 15),
    "answer": Task(readers, "question", 15),
    "tag": Task(taggers, "sentence", 15),
    "sentiment": Task(classifiers, "text", 8),
    "vectors": Task(word_vectors, "sentence", 5),
}


def candidates(task: str, data: Data, where: str = "PATH") -> list[Candidate]:
    """All candidates for a task and data."""
    return TASKS[task].candidates(data, where)
