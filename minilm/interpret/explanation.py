"""All explanations of one text by one model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minilm
from minilm.interpret.attention_maps import attention_weights, rollout
from minilm.interpret.attribution import Attribution, gradient_x_input, integrated_gradients
from minilm.interpret.causes import Causes, causes
from minilm.interpret.comparison import Comparison, compare
from minilm.interpret.html_page import frame
from minilm.interpret.lens import Lens, logit_lens
from minilm.interpret.neighbours import nearest
from minilm.interpret.plain import plain
from minilm.interpret.probes import Explained, Probe, probe_of
from minilm.interpret.surprisal import Surprisal, surprisal
from minilm.interpret.traces import Traces, traces
from minilm.layers.summary import in_a_line
from minilm.ops import checks
from minilm.quantized.storing import refuse_quantized
from minilm.tokenizers import Tokenizer

__all__ = ["Explanation", "explain"]

WORK = 4e12  # operations that integrated gradients may take without being asked for: about a minute on two cores
ATTRIBUTE = ("auto", "all", "last")


@dataclass(frozen=True, repr=False)
class Explanation:
    """The result of `explain`; a part that the model cannot have is None, and `lacks` says why.

    Attributes
    ----------
    text : str
    ids : ndarray, shape (T,)
    tokens : list of str
        T, as they are to be shown.
    spellings : dict of int to str
        How to show the id of any token that is named somewhere.
    model : str
        The model in a few words.
    causal : bool
        Whether a token was predicted from those before it, or from all others.
    surprisal : Surprisal
    gradient_x_input, integrated_gradients : Attribution
        The second perhaps of the last predictions alone, see `explain`.
    attention : ndarray, shape (L, H, T, T), or None
    rollout : ndarray, shape (T, T), or None
    traces : Traces or None
    lens : Lens or None
    causes : Causes
        Of the last prediction.
    comparison : Comparison or None
        With another model.
    neighbours : dict of int to list of (int, float)
        Of each token of the text: ids and cosines.
    lacks : dict of str to str
    """

    text: str
    ids: np.ndarray
    tokens: list[str]
    spellings: dict[int, str]
    model: str
    causal: bool
    surprisal: Surprisal
    gradient_x_input: Attribution
    integrated_gradients: Attribution
    attention: np.ndarray | None
    rollout: np.ndarray | None
    traces: Traces | None
    lens: Lens | None
    causes: Causes
    comparison: Comparison | None
    neighbours: dict[int, list[tuple[int, float]]]
    lacks: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 40 else f"{self.text[:39]}…"
        parts = [name for name in ("attention", "rollout", "traces", "lens", "causes") if getattr(self, name) is not None]
        return (
            f"Explanation of {text!r} by {self.model}: {len(self.ids)} tokens, {self.surprisal.total:.2f} bits; attribution, "
            f"neighbours, {', '.join(parts)}. minilm.interpret.write_page(it, FILE) shows it"
        )

    def _repr_html_(self) -> str:
        return frame(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it: lists for arrays, null for what is no number."""
        lens, kept = self.lens, self.traces
        return {
            "minilm_version": minilm.__version__,
            "text": self.text,
            "model": self.model,
            "causal": self.causal,
            "ids": self.ids.tolist(),
            "tokens": self.tokens,
            "spellings": {str(id): text for id, text in self.spellings.items()},
            "surprisal": {
                **plain(self.surprisal._asdict()),
                "total_bits": plain(self.surprisal.total),
                "mean_bits": plain(self.surprisal.mean),
                "perplexity": plain(self.surprisal.perplexity),
            },
            "gradient_x_input": plain(self.gradient_x_input._asdict()),
            "integrated_gradients": plain(self.integrated_gradients._asdict()),
            "attention": plain(self.attention),
            "rollout": plain(self.rollout),
            "traces": None if kept is None else plain(kept._asdict()),
            "lens": None if lens is None else plain(lens._asdict()),
            "causes": plain(self.causes._asdict()),
            "comparison": None if self.comparison is None else plain(self.comparison.to_dict()),
            "neighbours": {str(id): plain(near) for id, near in self.neighbours.items()},
            "lacks": self.lacks,
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


def explain(
    model: Explained,
    tokenizer: Tokenizer | None,
    text: str,
    *,
    attribute: str = "auto",
    steps: int | None = None,
    top: int = 10,
    neighbours: int = 8,
    answer: int | None = None,
    foil: int | None = None,
    corrupted: str | None = None,
    against: Explained | None = None,
) -> Explanation:
    """Explain what a model makes of a text.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining
    tokenizer : Tokenizer
        The model's. For a BERT [CLS] and [SEP] are put around the text.
    text : str
    attribute : {"auto", "all", "last"}
        Of which predictions integrated gradients are computed: of all, of the last one alone, or, with "auto", of all if that
        is a matter of a minute.
    steps : int, optional
        See `integrated_gradients`.
    top : int
        Most probable tokens to name.
    neighbours : int
        Nearest tokens to name.
    answer, foil, corrupted : int, int, str, optional
        Of the causes: which token's prediction at the end is explained, why it and not the foil, and another text of as many
        tokens to patch into; see `minilm.interpret.causes`.
    against : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining, optional
        Another model with the same tokenizer, such as an earlier checkpoint, to compare with.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        For a model of another kind; for a text that has no token, more than the model's context, or a character that the
        tokenizer lacks; for an option out of range.
    """
    checks.option("attribute", attribute, ATTRIBUTE)
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {checks.describe(text)}")
    probe = probe_of(model, tokenizer)
    refuse_quantized(probe.model, "they have no gradients, of which an explanation is made")
    ids = probe.checked(_ids(probe, tokenizer, text))  # (T,)
    surprisals = surprisal(probe, ids, top=top)
    if not len(surprisals.places):
        raise ValueError("the text has no token whose prediction could be explained")
    near = _neighbours(probe, ids, neighbours)
    lens = logit_lens(probe, ids) if probe.attends else None
    comparison = None if against is None else compare(probe, against, ids, top=top, tokenizer=tokenizer)
    reasons = _causes(probe, tokenizer, ids, answer, foil, corrupted)
    weights = attention_weights(probe, ids) if probe.attends else None
    places = _attributed(probe, ids, surprisals.places, attribute, steps)
    named = [ids, surprisals.top_ids, [id for row in near.values() for id, _ in row], _named_by(reasons)]
    named += [] if lens is None else [lens.top_ids]
    named += [] if comparison is None else [comparison.other.top_ids]
    return Explanation(
        text=text,
        ids=ids,
        tokens=_tokens(tokenizer, ids),
        spellings=_spellings(tokenizer, named),
        model=in_a_line(model),
        causal=probe.causal,
        surprisal=surprisals,
        gradient_x_input=gradient_x_input(probe, ids),
        integrated_gradients=integrated_gradients(probe, ids, places, steps=steps),
        attention=weights,
        rollout=None if weights is None else rollout(weights),
        traces=traces(probe, ids) if probe.recurs else None,
        lens=lens,
        causes=reasons,
        comparison=comparison,
        neighbours=near,
        lacks=probe.lacks,
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _ids(probe: Probe, tokenizer, text: str) -> np.ndarray:
    return np.asarray(tokenizer.encode(text) if probe.causal else tokenizer.encode_pair(text).input_ids, np.int64)


def _causes(probe: Probe, tokenizer, ids, answer, foil, corrupted) -> Causes:
    other = None if corrupted is None else _ids(probe, tokenizer, corrupted)
    return causes(probe, ids, answer=answer, foil=foil, corrupted=other)


def _named_by(reasons: Causes) -> list[int]:
    """Ids that the causes name."""
    other = [] if reasons.corrupted is None else reasons.corrupted.tolist()
    return [reasons.answer, *([] if reasons.foil is None else [reasons.foil]), *other]


def _attributed(probe: Probe, ids, places, attribute: str, steps) -> list[int]:
    """The places whose predictions integrated gradients explain."""
    work = 6.0 * probe.model.parameters.count * len(ids) * (steps or 32) * len(places)
    if attribute == "all" or (attribute == "auto" and work <= WORK):
        return places.tolist()
    return places[-1:].tolist()


def _tokens(tokenizer, ids) -> list[str]:
    """How the tokens of the text are shown: what each adds to it; what adds nothing, as part of a character, by its name."""
    stream, tokens = tokenizer.decode_stream(), []
    for id in ids.tolist():
        tokens.append(stream.feed([id]) or tokenizer.id_to_token(id))
    return tokens


def _neighbours(probe: Probe, ids, count: int) -> dict[int, list[tuple[int, float]]]:
    """Of each token of the text the nearest others: ids and cosines."""
    tokens = np.unique(ids)  # (U,)
    near, cosines = nearest(probe, tokens, count=count)  # (U, count) each
    return {
        int(id): list(zip(others.tolist(), similar.tolist(), strict=True))
        for id, others, similar in zip(tokens, near, cosines, strict=True)
    }


def _spellings(tokenizer, named: list) -> dict[int, str]:
    """How to show each id in any of these arrays, in the order of the ids."""
    every = np.unique(np.concatenate([np.ravel(each) for each in named]).astype(np.int64))
    return {id: _spelling(tokenizer, id) for id in every.tolist()}


def _spelling(tokenizer, id: int) -> str:
    """How a token is shown that stands by itself."""
    text = tokenizer.decode([id])
    return text if text and "\ufffd" not in text else tokenizer.id_to_token(id)
