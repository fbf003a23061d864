"""What may be trained: a model of the user's own, of which nothing but the protocol is known, and all of minilm's."""

import doctest
import signal

import numpy as np
import pytest

from minilm import layers, models, optimizers, training
from minilm.training import callbacks, events, log, protocol


@pytest.mark.parametrize("written", [protocol, events.Callback], ids=["a model of one's own", "a callback of one's own"])
def test_the_example_of_the_page(written):
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(written, written.__name__, globs={}):
        runner.run(example)
    assert runner.tries > 5 and runner.failures == 0


class Line:
    """y = w x, in nothing but NumPy."""

    device = "cpu"

    def __init__(self, w=0.0):
        self.w = layers.Parameter(np.array([w]))
        self.parameters = layers.Parameters([("w", self.w)])
        self.keys = []

    def forward(self, x, y, *, key=None):
        self.keys.append(key)
        error = self.w.value * x - y  # (N,)
        return np.mean(error**2), (x, error)

    def backward(self, saved):
        x, error = saved
        self.w.accumulate(np.array([2 * np.mean(error * x)]))


BATCH = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])  # y = 2 x


def line_loop(batches, **options):
    model = Line()
    return training.Loop(model, optimizers.SGD(model.parameters, 0.05), batches, **options)


def test_steps_are_those_written_out():
    loop = line_loop([BATCH] * 5, seed=7)
    loop.run()
    w = 0.0
    for _ in range(5):
        w -= 0.05 * np.mean(2 * (w - 2) * BATCH[0] ** 2)
    assert loop.model.w.value == pytest.approx(w) and loop.state.step == 5
    assert [(key.seed, key.step) for key in loop.model.keys] == [(7, step) for step in range(5)]


def test_batches_are_taken_one_a_step_and_no_more():
    batches = iter([BATCH] * 9)
    loop = line_loop(batches, steps=4)
    loop.run()
    assert loop.state.step == 4 and len(list(batches)) == 5
    loop = line_loop([BATCH] * 3, steps=4)
    loop.run()
    assert loop.state.step == 3 and not loop.ending


def test_the_schedule_gives_the_rate_of_the_middle_of_each_step():
    class Rates(training.Callback):
        def __init__(self):
            self.rates = []

        def on_step_end(self, loop):
            self.rates.append(loop.lr)

    rates = Rates()
    line_loop([BATCH] * 9, steps=4, schedule=lambda done: done, callbacks=[rates]).run()
    assert rates.rates == [0.125, 0.375, 0.625, 0.875]
    with pytest.raises(ValueError, match="a schedule needs to know when training will end: give steps or minutes"):
        line_loop([BATCH], schedule=lambda done: done)
    with pytest.raises(ValueError, match="steps must lie in"):
        line_loop([BATCH], steps=0)
    with pytest.raises(ValueError, match="minutes must lie in"):
        line_loop([BATCH], minutes=0)


def test_what_is_not_finite_ends_training_with_the_weights_of_before():
    loop = line_loop([BATCH, (BATCH[0], BATCH[1] * np.nan), BATCH])
    with pytest.raises(training.NonFiniteError, match="the loss is nan at step 1: a smaller lr than 0.05 may help"):
        loop.run()
    assert loop.state.step == 1 and np.isfinite(loop.model.w.value).all() and not loop.model.w.gradient.any()


@pytest.mark.usefixtures("hangup_ends")
@pytest.mark.parametrize("number", callbacks.SIGNALS)
def test_signals_and_the_bar_are_for_every_loop(number, monkeypatch, capsys):
    class Raises(training.Callback):
        def on_step_end(self, loop):
            if loop.state.step == 3:
                signal.raise_signal(number)

    monkeypatch.setattr(log, "LINE_SECONDS", 0.0)
    before, signals, shown = signal.getsignal(number), callbacks.Signals(), log.Progress(None, "steps")
    loop = line_loop([BATCH] * 9, steps=9, callbacks=[Raises()])
    loop.run(callbacks.Bar(shown), signals)
    assert loop.state.step == 3 and signals.stopped and signals.signal == number
    assert signal.getsignal(number) == before
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["step 1 (11%)", "step 2 (22%)", "step 3 (33%)"]


def test_the_models_of_minilm_keep_the_protocol():
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 4, "n_positions": 4, "vocab_size": 5}
    gpt = models.GPT(models.GPTConfig.gpt2(**sizes), seed=0)
    recurrent = models.RNNLanguageModel(models.RNNLanguageModelConfig(5, hidden_size=4), seed=0)
    bert = models.BERTForPreTraining(
        models.BERTConfig(5, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=8), seed=0
    )
    assert all(isinstance(model, training.LanguageModel) for model in (gpt, recurrent, bert))
    seq2seq = models.Seq2Seq(models.Seq2SeqConfig(5, 5, hidden_size=4), seed=0)
    assert isinstance(seq2seq, training.Trainable) and not isinstance(seq2seq, training.LanguageModel)
    assert isinstance(Line(), training.Trainable) and not isinstance(object(), training.Trainable)


def test_what_is_no_callback_is_refused_before_training():
    class Misspelled(training.Callback):
        def on_batch_end(self, loop):
            pass

    with pytest.raises(TypeError, match=r"Misspelled has on_batch_end, which is no event: did you mean 'on_step_end'\?"):
        line_loop([BATCH], callbacks=[Misspelled()])
    with pytest.raises(TypeError, match="callbacks must be a list of them, got Callback alone"):
        line_loop([BATCH], callbacks=training.Callback())
    with pytest.raises(TypeError, match="must hold instances"):
        line_loop([BATCH]).run(print)


def test_a_model_or_a_batch_of_another_kind_is_named():
    class Many(Line):
        def forward(self, x, y, *, key=None):
            return np.ones(2), None

    with pytest.raises(TypeError, match="object has no parameters: see minilm.training.Trainable"):
        training.Loop(object(), None, [])
    with pytest.raises(TypeError, match="a batch must be a tuple, what forward takes, got an array"):
        line_loop([BATCH[0]]).run()
    with pytest.raises(ValueError, match="optimizer must be one of this model's parameters, and \\w+ belongs to another model"):
        training.Loop(Line(), optimizers.SGD(Line().parameters, 0.05), [BATCH])
    many = Many()
    with pytest.raises(TypeError, match="the loss must be one number, the mean over the batch, got an array"):
        training.Loop(many, optimizers.SGD(many.parameters, 0.05), [BATCH]).run()


def test_what_is_evaluated_or_configured_by_something_else_is_named():
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=4), seed=0)
    with pytest.raises(ValueError, match="tokens must hold two at least, of which the second is predicted, got 1"):
        training.evaluate(model, np.array([3]))
    with pytest.raises(TypeError, match="tokens must be an array of integers"):
        training.evaluate(model, "text")
    with pytest.raises(TypeError, match="model must be a minilm.training.LanguageModel, which has an objective"):
        training.evaluate(Line(), np.arange(7))
    with pytest.raises(TypeError, match="config must be a RunConfig, as minilm.training.configuration"):
        training.train({"steps": 3})
    with pytest.raises(TypeError, match="optimizer must be one of minilm.optimizers, got str 'adam'"):
        training.Loop(model, "adam", [])
