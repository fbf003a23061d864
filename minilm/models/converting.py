"""Models from the weights of other programs: what `minilm.weights.converters` reads, made into a model of minilm.

::

    from minilm import models

    model, tokenizers = models.convert_from("ckpt.pt")                 # what it is, the file says
    model, tokenizers = models.convert_from("weights.npz", "g2p")      # or one of `minilm.weights.converters.CONVERTERS`
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from minilm.layers.base import Layer
from minilm.layers.loading import blank
from minilm.models.bert import BERT
from minilm.models.bert_pretraining import BERTForPreTraining
from minilm.models.bert_tasks import BERTForQuestionAnswering, BERTForSequenceClassification, BERTForTokenClassification
from minilm.models.config import Config, RNNLanguageModelConfig
from minilm.models.gpt import GPT
from minilm.models.llama import Llama
from minilm.models.rnn_lm import RNNLanguageModel
from minilm.models.seq2seq import Seq2Seq
from minilm.models.seq2seq_config import Seq2SeqConfig, TransformerConfig
from minilm.models.transformer import Transformer
from minilm.models.window_lm import WindowLanguageModel, WindowLanguageModelConfig
from minilm.quantized.storing import refuse_quantized_folder
from minilm.tokenizers import Tokenizer
from minilm.typing import DType, PathLike
from minilm.weights.config import family_of
from minilm.weights.converters import CONVERTERS, Checkpoint, converter, recognised
from minilm.weights.converters.unrecognised import why
from minilm.weights.loading import check_finite
from minilm.weights.loose import as_array

__all__ = ["Converted", "convert_from", "model_of"]

OWN: dict[str, tuple[type[Config], type[Layer]]] = {
    RNNLanguageModelConfig.model_type: (RNNLanguageModelConfig, RNNLanguageModel),
    WindowLanguageModelConfig.model_type: (WindowLanguageModelConfig, WindowLanguageModel),
    Seq2SeqConfig.model_type: (Seq2SeqConfig, Seq2Seq),
    TransformerConfig.model_type: (TransformerConfig, Transformer),
}
TASKS = (BERTForPreTraining, BERTForSequenceClassification, BERTForTokenClassification, BERTForQuestionAnswering, BERT)
MASKED = "BertForMaskedLM"


class Converted(NamedTuple):
    """A model that was read, and its tokenizers by the names of their files."""

    model: Any
    tokenizers: dict[str, Tokenizer]


def convert_from(
    path: PathLike, kind: str | None = None, *, vocabulary: PathLike | None = None, dtype: DType = np.float32
) -> Converted:
    """Read a model that another program wrote.

    Parameters
    ----------
    path : str or os.PathLike
        A file or a folder.
    kind : str, optional
        One of `minilm.weights.converters.CONVERTERS`; without it the file says.
    vocabulary : str or os.PathLike, optional
        A file of the tokens, where the format has none of its own: a JSON list, a JSON object from tokens to ids, or lines.
    dtype : {float32, float64}

    Returns
    -------
    Converted

    Raises
    ------
    FileNotFoundError
    ValueError
        In one line: nothing recognises the file, it is damaged, or its arrays do not fit.
    """
    path = os.path.expanduser(os.fspath(path))
    if not os.path.exists(path) and not os.path.exists(f"{path}.index"):
        raise FileNotFoundError(f"there is no file or folder {path}")
    refuse_quantized_folder(path, "converted")
    kind = recognised(path) if kind is None else kind
    if kind is None:
        raise ValueError(f"{path} {why(path, 'converted are ' + ', '.join(CONVERTERS))}")
    checkpoint = converter(kind).read(path, None if vocabulary is None else os.fspath(vocabulary))
    return Converted(model_of(checkpoint, path, dtype=dtype), checkpoint.tokenizers)


def model_of(checkpoint: Checkpoint, path: str = "the arrays", *, dtype: DType = np.float32) -> Any:
    """The model of a configuration and arrays; ValueError, which begins with `path`, where they do not fit."""
    kind = checkpoint.config.get("model_type")
    if kind == "sequential":
        raise ValueError(f"{path} is of a Sequential: `minilm convert {path} TO.keras` makes one, for sequential.load_model")
    if kind not in OWN:
        return _published(checkpoint, path, dtype)
    configuration, model_class = OWN[kind]
    try:
        with blank(checkpoint.arrays):
            model = model_class(configuration.from_dict(checkpoint.config), dtype=dtype)
        model.parameters.load_state_dict({name: as_array(array) for name, array in checkpoint.arrays.items()})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    for name, value in model.parameters.items():
        check_finite(path, name, value)
    return model


def _published(checkpoint: Checkpoint, path: str, dtype: DType) -> Any:
    """One of the families that have Hugging Face's layout."""
    try:
        family = family_of(checkpoint.config, ())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if family == "bert":
        named = (checkpoint.config.get("architectures") or ["BertModel"])[0]
        named = "BertForPreTraining" if named == MASKED else named
        model_class = next((each for each in TASKS if each.hugging_face["bert"] == named), None)
        if model_class is None:
            raise ValueError(
                f"{path} is of the architecture {named!r}, wanted {', '.join(t.hugging_face['bert'] for t in TASKS)}"
            )
    else:
        model_class = GPT if family in GPT.hugging_face else Llama
    return model_class.from_arrays(checkpoint.config, checkpoint.arrays, path=path, dtype=dtype)
