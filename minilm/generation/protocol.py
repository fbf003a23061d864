"""What a model must have to write text."""

from __future__ import annotations

from typing import Any, Protocol

from minilm.typing import Array, Ids

__all__ = ["CausalLanguageModel"]


class CausalLanguageModel(Protocol):
    """A model that predicts the next token: `minilm.models.RNNLanguageModel`, `minilm.models.GPT`, or one of your own.

    A state is whatever the model needs to go on: its recurrent states, or a cache of keys and values. Generation hands it back as
    it came, and for several texts chooses rows of it: of arrays (..., B, H), alone or in tuples, or by the state's own
    ``reorder(rows)``.
    """

    def initial_state(self, batch: int) -> Any:
        """The state before the first token of `batch` texts."""

    def logits(self, ids: Ids, state: Any, *, last: bool = False) -> tuple[Array, Any]:
        """Logits after each of `ids` (B, T), (B, T, V), or with `last` after the last one, (B, V); and the state there."""

    def step(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Logits (B, V) after one more token of each text, `ids` (B,), and the state there."""
