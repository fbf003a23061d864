"""What the explanations need from a model: `Probe`, one a family, and `probe_of`, which finds a model's."""

from __future__ import annotations

from minilm import models
from minilm.interpret.probes.base import Explained, Probe, Queries, untouched
from minilm.interpret.probes.recurrent import RecurrentProbe, WindowProbe
from minilm.interpret.probes.transformers import BERTProbe, GPTProbe, LlamaProbe, TransformerProbe
from minilm.quantized.storing import refuse_quantized
from minilm.tokenizers import Tokenizer

__all__ = ["Explained", "Probe", "Queries", "TransformerProbe", "probe_of", "untouched"]


def __dir__() -> list[str]:
    return sorted(__all__)


def probe_of(model: Explained, tokenizer: Tokenizer | None = None) -> Probe:
    """The probe of a model.

    Parameters
    ----------
    model : RNNLanguageModel, WindowLanguageModel, GPT, Llama or BERTForPreTraining
    tokenizer : Tokenizer, optional
        Of a BERT, which must be told its mask. Ids of the model that it lacks are named nowhere.

    Returns
    -------
    Probe
        `model` itself, where it is one.

    Raises
    ------
    TypeError
        For any other model.
    ValueError
        For one on a GPU, since what is explained is computed on the CPU; for a recurrent one with quantised weights; and for a
        BERT without a tokenizer that has a mask.
    """
    if isinstance(model, Probe):
        return model
    probe = _probe_of(model, tokenizer)
    if tokenizer is not None:
        probe.named = min(probe.vocab_size, tokenizer.vocab_size)
    return probe


def _probe_of(model, tokenizer) -> Probe:
    if getattr(model, "device", "cpu") != "cpu":
        raise ValueError(f"model must be on the CPU to be explained, got one on {model.device}: model.to('cpu') moves it")
    if isinstance(model, models.RNNLanguageModel | models.WindowLanguageModel):
        refuse_quantized(model, "a layer of them does not keep its gates, which are explained")
    if isinstance(model, models.RNNLanguageModel):
        return RecurrentProbe(model)
    if isinstance(model, models.WindowLanguageModel):
        return WindowProbe(model)
    if isinstance(model, models.GPT):
        return GPTProbe(model)
    if isinstance(model, models.Llama):
        return LlamaProbe(model)
    if isinstance(model, models.BERTForPreTraining):
        mask = getattr(tokenizer, "mask_token_id", None)
        if mask is None:
            raise ValueError("tokenizer must have a mask token for a BERT, whose predictions are of masked tokens")
        return BERTProbe(model, mask)
    kinds = "an RNNLanguageModel, a WindowLanguageModel, a GPT, a Llama or a BERTForPreTraining"
    raise TypeError(f"model must be {kinds}, got {type(model).__name__}")
