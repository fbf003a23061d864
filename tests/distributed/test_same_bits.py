"""1, 2, 3 and 4 ranks train the same weights, bit for bit, with dropout, sharded optimizers and overlapping buckets."""

import pytest

from minilm import devices, training
from tests.distributed import launch, trained
from tests.training.helpers import contents, log_without_times

MODELS = ("lstm", "gpt", "bert", "seq2seq")
STEPS = 5
SHARDED = ("lstm-sharded", "gpt-sharded", "bert-sharded")


def files(folder, name):
    if name != "seq2seq":
        return contents(folder / name), log_without_times(folder / name)
    rows = [line.split(",") for line in (folder / name / "log.csv").read_text().splitlines()]
    return contents(folder / name, ("model.safetensors", "optimizer.safetensors")), [row[:1] + row[2:] for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, corpus):
    """All models, trained by this process."""
    folder = tmp_path_factory.mktemp("alone")
    devices.set_threads(1)
    trained.main(folder, corpus, STEPS, *MODELS)
    return folder


@pytest.mark.parametrize(("ranks", "names"), [(2, MODELS), (3, SHARDED), (4, ("gpt", "seq2seq"))])
def test_any_number_of_ranks(alone, corpus, tmp_path, ranks, names):
    launch.run(ranks, "-m", "tests.distributed.trained", tmp_path, corpus, STEPS, *names)
    for name in names:
        for part, expected in zip(files(tmp_path, name), files(alone, name.partition("-")[0]), strict=True):
            assert part == expected, (name, ranks)


@pytest.mark.slow
def test_two_hundred_steps(corpus, tmp_path):
    """What one rank trains of a batch, two train of a half each, and four of a quarter."""
    for ranks, names in ((1, MODELS), (2, MODELS), (4, MODELS), (3, SHARDED)):
        launch.run(ranks, "-m", "tests.distributed.trained", tmp_path / str(ranks), corpus, 200, *names)
        for name in names:
            expected = files(tmp_path / "1", name.partition("-")[0])
            assert files(tmp_path / str(ranks), name) == expected, (name, ranks)


def test_micro_shards_are_a_setting_of_their_own(alone, corpus, tmp_path, monkeypatch):
    """Another number of micro-shards sums in another order: within rounding the same, and not the same bits."""
    monkeypatch.setitem(trained.SHARED, "micro_shards", 2)
    trained.main(tmp_path, corpus, STEPS, "gpt")
    ours, theirs = (training.load_run(folder / "gpt").model.parameters.flat for folder in (tmp_path, alone))
    assert ours.tobytes() != theirs.tobytes()
