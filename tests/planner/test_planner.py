"""The choice of a model: estimates against measured steps, sensible choices, data that is counted."""

import gzip
import importlib
import json
import time

import numpy as np
import pytest

from minilm import Workspace, devices, models, optimizers, planner
from minilm.planner import cost
from minilm.random import Key
from tests import clocks

measuring = importlib.import_module("minilm.planner.hardware")  # the function of that name hides the module

# Rates of a machine with two cores, so that choices do not depend on where the tests run.
TWO_CORES = planner.Machine(
    matmul=200e9, recurrent=150e9, bandwidth=10e9, exponentials=400e6, call=8e-6, questions=12e6, threads=2, memory=16 * 2**30
)
HUGE = planner.Machine(
    matmul=60e12, recurrent=20e12, bandwidth=2e12, exponentials=4e11, call=8e-6, questions=4e8, threads=64, memory=128 * 2**30
)


# --- estimates -------------------------------------------------------------------------------------------------------


def measured_step(model, batch, steps=6) -> float:
    """Seconds of a training step: forward, backward, Adam; the median."""
    adam, workspace, times = optimizers.Adam(model.parameters), Workspace(), []
    for step in range(steps + 2):
        begin = time.process_time()
        with workspace.step():
            _, saved = model.forward(*batch, key=Key(0, step))
            model.backward(saved)
        adam.step()
        times.append(time.process_time() - begin)
    return float(np.median(times[2:]))


def language_model(kind):
    rng = np.random.default_rng(0)
    V = 500
    if kind == "gpt":
        B, T, D, layers = 8, 64, 128, 2
        config = models.GPTConfig(vocab_size=V, n_positions=T, n_embd=D, n_layer=layers, n_head=4)
        model = models.GPT(config, seed=0)
        parts = [cost.embedding(B * T, V, D), cost.embedding(B * T, T, D), layers * cost.block(B, T, D, 4, True)]
        parts += [cost.norm(B * T, D), cost.linear(B * T, D, V, shared=True, bias=False)]
    else:
        B, T, E, H = 32, 32, 64, 128
        config = models.RNNLanguageModelConfig(vocab_size=V, cell=kind, embedding_size=E, hidden_size=H)
        model = models.RNNLanguageModel(config, seed=0)
        parts = [cost.embedding(B * T, V, E), cost.recurrent(kind, T, B, E, H), cost.linear(B * T, H, V)]
    ids = rng.integers(0, V, (B, T + 1))
    return model, (ids[:, :-1].copy(), ids[:, 1:].copy()), cost.total([*parts, cost.softmax(B * T, V)])


@pytest.fixture(scope="module")
def measured():
    devices.set_threads(1)
    with clocks.of_the_process():
        return planner.Machine.measure()


@pytest.fixture
def machine(measured):
    """The rates of one thread, and within the test the clock by which they were measured: what others compute does not count."""
    devices.set_threads(1)
    with clocks.of_the_process():
        yield measured


@pytest.mark.parametrize("kind", ["lstm", "gru", "gpt"])
def test_an_estimate_is_within_a_factor_of_two(machine, kind):
    model, batch, estimate = language_model(kind)
    ratios = []
    for _ in range(3):  # a busy machine disturbs one measurement, hardly three
        estimated, measured = estimate.seconds(machine), measured_step(model, batch)
        ratios.append(estimated / measured)
        if 0.5 < ratios[-1] < 2:
            return
        machine = planner.Machine.measure()
    raise AssertionError(f"estimated / measured: {ratios}; {machine.summary()}")


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "gpt"])
def test_parameters_are_counted_exactly(kind):
    model, _, estimate = language_model(kind)
    assert estimate.parameters == model.parameters.count


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "gpt"])
def test_memory_is_estimated_within_15_percent(kind):
    """Of a training step's buffers, which are reused, and of weights, gradients and Adam's means."""
    model, batch, estimate = language_model(kind)
    workspace = Workspace()
    for _ in range(2):
        with workspace.step():
            _, saved = model.forward(*batch)
            model.backward(saved)
    assert estimate.memory() == pytest.approx(workspace.nbytes + 4 * model.parameters.flat.nbytes, rel=0.15)


def test_word2vec_is_estimated_too(machine):
    model = models.Word2Vec(models.Word2VecConfig(1000, size=64, window=5, subsample=0))
    sentences = [np.random.default_rng(i).integers(0, 1000, 20) for i in range(2000)]
    estimate = cost.word2vec(40_000, 1000, 64, 5, 5, False)
    for _ in range(3):
        reports = []
        model.train(sentences, epochs=1, progress=reports.append)
        if 0.4 < estimate.seconds(machine) / reports[-1].seconds < 2.5:
            return
    raise AssertionError(f"estimated {estimate.seconds(machine):.3f} s, took {reports[-1].seconds:.3f} s")


def test_costs_grow_as_they_should():
    small, large = cost.recurrent("lstm", 10, 32, 64, 64), cost.recurrent("lstm", 10, 32, 64, 128)
    assert large.recurrent == 3 * small.recurrent and large.parameters > small.parameters
    assert cost.recurrent("lstm", 10, 1, 64, 64).recurrent == cost.recurrent("lstm", 10, 8, 64, 64).recurrent  # a tile's rows
    assert cost.attention(2, 8, 8, 16, 2, True).exponentials * 2 == cost.attention(2, 8, 8, 16, 2, False).exponentials
    both = cost.linear(5, 3, 2) + 2 * cost.linear(5, 3, 2)
    assert both == cost.linear(5, 3, 2) * 3 and cost.linear(5, 3, 2).parameters == 8


# --- choices ---------------------------------------------------------------------------------------------------------


def chosen(task, examples, length, vocabulary=5000, machine=TWO_CORES, **options):
    return planner.choose(task, planner.Data(examples, examples * length, vocabulary), machine, **options)


@pytest.mark.parametrize("task", planner.TASKS)
def test_every_task_has_an_answer(task):
    advice = chosen(task, 5000, 20, minutes=20)
    best = advice.best
    assert best is not None and best.fits and best.passes >= 1 and best.memory > 0 and best.step > 0
    assert all(best.score <= each.score + 0.01 for each in advice.others if each.fits)
    assert best.model.split()[0] in best.command or task in best.command
    assert len(advice.assumed) >= 5 and any("GFLOP/s" in line for line in advice.assumed)


def test_more_data_and_time_want_larger_models():
    sizes = [chosen("language-model", 1, n, 80, minutes=m).best.parameters for n, m in ((10**5, 2), (10**6, 30), (10**8, 3000))]
    assert sizes[0] < sizes[1] < sizes[2]
    assert chosen("translate", 1000, 20).best.model in ("lstm", "gru")
    large = chosen("translate", 5_000_000, 60, 30_000, HUGE, minutes=2000)
    assert large.best.model == "transformer" and large.best.parameters > 10**7


def test_what_does_not_fit_says_why():
    advice = chosen("language-model", 1, 10**9, 50_000, minutes=0.1)
    assert advice.best is None and all("of the data in the time" in each.why_not for each in advice.others)
    advice = chosen("sentiment", 1000, 20, memory=2**20)
    assert advice.best is None and all("needs" in each.why_not for each in advice.others)


def test_every_command_can_be_run():
    """The options and settings of the commands are such as there are."""
    from minilm import recipes
    from minilm.cli.recipe import _settings
    from minilm.training import settings

    for task in planner.TASKS:
        advice = chosen(task, 5000, 20, 5000, minutes=3)
        for each in [*([advice.best] if advice.best else []), *advice.others]:
            words = each.command.split()
            sets = [word for before, word in zip(words, words[1:], strict=False) if before == "--set"]
            minutes = float(words[words.index("--minutes") + 1])
            read = each.tokens_per_second * each.step  # tokens of a step
            if task == "language-model":
                kind = words[words.index("--model") + 1]
                options = {"model": {"cell": kind} if kind != "gpt" else {"model_type": kind}, "corpus": "PATH"}
                config = settings.configuration(None, file=None, sets=sets, options={**options, "minutes": minutes})
                assert config.batch * config.time == pytest.approx(read) and config.minutes == 3
                assert config.recipe == ("gpt" if kind == "gpt" else "minutes")
            else:
                recipe = recipes.load(task)(**_settings(sets))
                recipe.limit(minutes=minutes)
                assert recipe.options["minutes"] == 3
                if task != "vectors":
                    assert "batch" in recipe.chosen and read == pytest.approx(recipe.options["batch"] * 20)


def test_limits_are_floats():
    """As --json writes them, whatever kind of number they came as."""
    limits = planner.check_limits(planner.Data(1, 1, 1), np.int64(3), np.float32(2.0))
    assert limits == (3.0, 2.0) and {type(each) for each in limits} == {float}
    assert planner.check_limits(planner.Data(1, 1, 1), 3) == (3.0, None)


def test_wrong_arguments():
    data = planner.Data(10, 100, 10)
    for call, says in (
        (lambda: planner.choose("sentimant", data, TWO_CORES), "did you mean 'sentiment'"),
        (lambda: planner.choose("tag", data, TWO_CORES, minutes=0), "minutes"),
        (lambda: planner.choose("tag", data, TWO_CORES, memory=-1), "memory"),
        (lambda: planner.choose("tag", planner.Data(0, 0, 0), TWO_CORES), "examples"),
        (lambda: TWO_CORES.__class__(**{**TWO_CORES.__dict__, "call": 0}), "call"),
    ):
        with pytest.raises(ValueError, match=says):
            call()


# --- machines and data -----------------------------------------------------------------------------------------------


def test_a_machine_is_measured_once(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(measuring, "BUSY", 1.0)  # however busy it is
    runs = []

    def measure(cls):
        runs.append(1)
        return cls(**{**TWO_CORES.__dict__, "threads": devices.threads(), "name": measuring._processor()})

    monkeypatch.setattr(planner.Machine, "measure", classmethod(measure))
    first, new = planner.machine()
    assert new and planner.machine() == (first, False) and len(runs) == 1
    assert planner.machine(again=True)[1] and len(runs) == 2
    (tmp_path / "machine.json").write_text("{")
    assert planner.machine()[1]


@pytest.mark.parametrize("share, kept", [(0.02, True), (0.4, False)])
def test_rates_beside_other_work_are_not_kept(monkeypatch, tmp_path, share, kept):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path))
    monkeypatch.setattr(planner.Machine, "measure", classmethod(lambda cls: TWO_CORES))
    times = iter([(10, 5), (10 + round(1e6 * (1 - share)), 5 + round(1e6 * share))])  # ran and waited, before and after
    monkeypatch.setattr(measuring._Contention, "_times", staticmethod(lambda: next(times)))
    found, now = planner.machine()
    assert now and (tmp_path / "machine.json").exists() == kept
    assert ("beside other work, which took 40% of the time: not kept" in found.measured) == (not kept)


def test_a_machine_of_a_file(tmp_path):
    path = tmp_path / "machine.json"
    TWO_CORES.save(path)
    assert planner.Machine.load(path) == TWO_CORES
    content = json.loads(path.read_text())
    huge = "must lie in .* got a whole number beyond all floats"
    wrong = [({name: 10**400}, f"{name} {huge}") for name in ("matmul", "threads", "memory")]
    for change, says in [({"matmul": -1}, "matmul"), ({"matmul": "fast"}, "matmul"), ({"cores": 2}, "unknown cores"), *wrong]:
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=says):
            planner.Machine.load(path)
    del content["call"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="missing call"):
        planner.Machine.load(path)


def test_data_are_counted(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat\n\nthe dog\n")
    assert planner.data_of("vectors", path)[:3] == (2, 5, 4)
    assert planner.data_of("language-model", path)[:3] == (1, 21, len(set("the cat sat\n\nthe dog\n")))
    (tmp_path / "more.txt").write_text("a bird\n")
    assert planner.data_of("sentiment", tmp_path).examples == 3
    path.write_bytes(b"fine\n\xff\n")
    with pytest.raises(ValueError, match="text.txt:2: byte 1 of the line is not UTF-8"):
        planner.data_of("vectors", path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="no text"):
        planner.data_of("vectors", path)


def test_data_in_the_forms_of_the_recipes(tmp_path):
    with gzip.open(tmp_path / "train.de.gz", "wt") as file:
        file.write("ein hund\neine katze\n")
    (tmp_path / "train.en").write_text("a dog\na cat\n")
    (tmp_path / "val.en").write_text("a bird\n")
    assert planner.data_of("translate", tmp_path)[:3] == (2, round(1.3 * 8), 7)
    path = tmp_path / "tags.conll"
    path.write_text("the O\ncat B-A\n\na O\n\n\nbird O\n")
    assert planner.data_of("tag", path)[:3] == (3, 4, 4)
    path = tmp_path / "squad.json"
    paragraph = {"context": "the cat sat", "qas": [{"question": "who sat"}, {"question": "what did the cat do"}]}
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    assert planner.data_of("answer", path)[:3] == (2, 13, 3)
    path.write_text("[]")
    with pytest.raises(ValueError, match="SQuAD's form"):
        planner.data_of("answer", path)
    path = tmp_path / "broken.gz"
    path.write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(ValueError, match="broken.gz"):
        planner.data_of("vectors", path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no files"):
        planner.data_of("vectors", tmp_path / "empty")
