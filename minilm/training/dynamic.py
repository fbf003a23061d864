r"""Dynamic evaluation: a model that goes on learning from the text that it is tested on.

The text is read in segments of T tokens, each predicted by the weights :math:`\theta` as they are. These are then moved by the
gradient g of that segment's loss, whose norm is clipped to 1, and back a little towards what training left, :math:`\theta_0`:

.. math:: \theta' = \theta - \eta \, g, \qquad \theta \leftarrow \theta' + \lambda (\theta_0 - \theta')

No token is predicted from itself or from what follows it. But the model is another one at the end of the text than at its
beginning: names and turns of phrase that the text repeats are learned where they stand first. So the loss must not be compared
with that of `minilm.training.evaluate`.

Source: B. Krause, E. Kahembwe, I. Murray, S. Renals, Dynamic evaluation of neural sequence models, ICML 2018 (section 3; what is
here is its plain form, without the mean squares of gradients).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from minilm import data
from minilm.ops import checks
from minilm.ops.workspace import Workspace
from minilm.optimizers import SGD
from minilm.training.evaluation import Evaluation, on_device
from minilm.training.protocol import LanguageModel

__all__ = ["evaluate_dynamic"]

LR, DECAY, TIME = 0.3, 1e-3, 32
CLIP_NORM = 1.0  # of a segment's gradient: one that surprises is not to undo what was learned


def evaluate_dynamic(
    model: LanguageModel, tokens: ArrayLike, *, lr: float = LR, decay: float = DECAY, time: int | None = None
) -> Evaluation:
    """Mean loss of a model over a stream of tokens from which it learns as it reads them.

    Parameters
    ----------
    model : RNNLanguageModel, GPT or Llama
        Its weights are at the end what they were before.
    tokens : array_like of int, shape (N,), N >= 2
    lr : float
        :math:`\\eta`.
    decay : float
        :math:`\\lambda`, in [0, 1].
    time : int, optional
        Tokens of a segment. Without it 32 for a recurrent model, whose state is carried from one to the next, and the context of
        another, which reads each segment by itself.

    Returns
    -------
    Evaluation
        Every token but the first was predicted once.

    Raises
    ------
    ValueError
        If there are fewer than two tokens, or the model does not predict the next one.
    """
    tokens = checks.integers("tokens", np.asarray(tokens), (None,), "(N,)")
    if tokens.size < 2:
        raise ValueError(f"tokens must hold two at least, of which the second is predicted, got {tokens.size}")
    if getattr(model, "objective", None) != "next":
        raise ValueError(f"dynamic evaluation is for models that predict the next token, got {type(model).__name__}")
    checks.number("lr", lr, 0, math.inf, high_open=True)
    checks.number("decay", decay, 0, 1)
    longest = model.context or 2**31 - 1
    if time is None:
        time = min(TIME if model.carries_state else longest, tokens.size - 1)
    time = checks.whole("time", time, 1, longest + 1)
    weights = model.parameters.flat  # (P,)
    trained = weights.copy()
    optimizer, workspace = SGD(model.parameters, lr, clip_norm=CLIP_NORM), Workspace()
    model.parameters.zero_gradients()
    total, state = 0.0, None
    batches = data.EvaluationBatches(tokens, 1, time, carried=model.carries_state)
    try:
        for ids, targets in batches:  # (1, T) each
            with workspace.step():
                loss, saved = model.forward(*on_device(model, ids, targets), *([state] if model.carries_state else []))
                model.backward(saved)
            state = getattr(saved, "state", None)
            total += float(loss) * int((targets != data.IGNORE).sum())
            optimizer.step()
            weights += weights.dtype.type(decay) * (trained - weights)
    finally:
        weights[...] = trained
        model.parameters.zero_gradients()
    return Evaluation(total / batches.total_targets, batches.total_targets, None)
