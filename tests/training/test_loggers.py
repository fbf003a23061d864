"""Loggers: what a file or a service was told, and that training is the same with them."""

import csv
import itertools
import types

import numpy as np
import pytest

from minilm import data, models, optimizers, training


def loop(steps=6, **options):
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=8), seed=0)
    batches = data.batches(np.arange(1000) % 7, batch=4, time=10, seed=0)
    return training.Loop(model, optimizers.Adam(model.parameters, lr=0.01, clip_norm=1.0), batches, steps=steps, **options)


class Kept(training.Logger):
    def __init__(self, every=1):
        super().__init__(every)
        self.rows = []

    def write(self, step, values):
        self.rows.append((step, dict(values)))


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_every_number(tmp_path):
    kept, logger = Kept(), training.CSVLogger(tmp_path / "new" / "log.csv")
    run = loop(callbacks=[kept, logger])
    run.run()
    rows = read(tmp_path / "new" / "log.csv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6] and list(rows[0]) == ["step", "loss", "lr", "gradient_norm"]
    assert [float(row["loss"]) for row in rows] == [values["loss"] for _, values in kept.rows]
    assert float(rows[0]["gradient_norm"]) > 0 and float(rows[0]["lr"]) == 0.01
    plain = loop()
    plain.run()
    assert np.array_equal(plain.model.parameters.flat, run.model.parameters.flat)


def test_every_and_the_last(tmp_path):
    kept = Kept(every=4)
    loop(callbacks=[kept]).run()
    assert [step for step, _ in kept.rows] == [4, 6]
    with pytest.raises(ValueError, match="every"):
        training.CSVLogger(tmp_path / "log.csv", every=0)


def test_a_column_that_comes_later_and_a_run_that_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    for append in (False, True):
        logger = training.CSVLogger(path, append=append)
        run = loop(steps=2, callbacks=[logger])
        logger.on_train_begin(run)
        logger.write(1, {"loss": 0.5})
        logger.on_validation_end(run, {"val_loss": 0.25, "accuracy": 1.0, "name": "x"})
        logger.write(2, {"loss": 0.125})
        logger.close()
    rows = read(path)
    assert [row["loss"] for row in rows] == ["0.5", "", "0.125"] * 2
    assert [row["val_loss"] for row in rows] == ["", "0.25", ""] * 2 and rows[1]["validation_accuracy"] == "1.0"
    training.CSVLogger(path).on_train_begin(run)
    assert read(path) == []


def test_a_killed_run_s_table_goes_on_where_the_run_does(tmp_path):
    path = tmp_path / "log.csv"
    run = loop(steps=3, callbacks=[training.CSVLogger(path)])
    run.run()
    run.budget = run.budget._replace(steps=5)
    run.run()  # a loop that runs once more adds to its table
    assert [int(row["step"]) for row in read(path)] == [1, 2, 3, 4, 5]
    path.write_text(path.read_text() + "6,0.5,0.01,1.0\n1")  # a step after the last checkpoint, and half a row, of 10
    state = training.LoopState(step=2)
    loop(steps=4, callbacks=[training.CSVLogger(path, append=True)], state=state).run()
    assert [int(row["step"]) for row in read(path)] == [1, 2, 3, 4]


def test_rows_of_an_earlier_run_stay_and_a_logger_is_as_it_was_made(tmp_path):
    logger = training.CSVLogger(tmp_path / "log.csv")
    loop(steps=4, callbacks=[logger]).run()
    loop(steps=3, callbacks=[logger]).run()  # another loop writes over
    assert [int(row["step"]) for row in read(logger.path)] == [1, 2, 3]
    for begin in (0, 2):  # a second run, and the same after its checkpoint of step 2
        loop(steps=4, callbacks=[training.CSVLogger(logger.path, append=True)], state=training.LoopState(step=begin)).run()
    assert [int(row["step"]) for row in read(logger.path)] == [1, 2, 3, 1, 2, 3, 4]


def test_numbers_of_numpy_are_logged(tmp_path):
    logger = training.CSVLogger(tmp_path / "log.csv")
    run = loop(steps=1, callbacks=[logger])
    logger.on_train_begin(run)
    logger.on_validation_end(run, {"accuracy": np.float32(0.5), "count": np.int64(3), "name": "x"})
    logger.close()
    assert read(tmp_path / "log.csv")[0]["validation_accuracy"] == "0.5"


def test_a_whole_run_logs_its_validation(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abcdefg\n" * 400)
    config = training.configuration(options={"corpus": str(text), "steps": 3, "time": 8, "batch": 2, "model.hidden_size": 8})
    kept, logger = Kept(), training.CSVLogger(tmp_path / "log.csv")
    result = training.train(config, out=tmp_path / "run", callbacks=[kept, logger])
    assert float(read(tmp_path / "log.csv")[-1]["validation_loss"]) == result.evaluation.loss and logger._file is None
    assert kept.rows[-1] == (3, {"validation_loss": result.evaluation.loss})
    assert [step for step, values in kept.rows if "loss" in values] == [1, 2, 3]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    loop(callbacks=[training.TensorBoardLogger(tmp_path / "events")]).run()
    (file,) = (tmp_path / "events").iterdir()
    content = file.read_bytes()
    assert content.count(b"gradient_norm") == 6 and content.count(b"lr") >= 6


def test_wandb_is_called_as_it_wants(monkeypatch):
    logged = []
    run = types.SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("finished"))
    module = types.SimpleNamespace(init=lambda **options: logged.append(options) or run)
    monkeypatch.setitem(__import__("sys").modules, "wandb", module)
    loop(steps=2, callbacks=[training.WandbLogger(options={"project": "texts", "config": {"a": 1}})]).run()
    assert logged[0] == {"project": "texts", "config": {"a": 1}} and logged[-1] == "finished"
    assert [step for step, _ in logged[1:-1]] == [1, 2] and set(logged[1][1]) == {"loss", "lr", "gradient_norm"}


def test_a_library_that_is_missing_is_named(monkeypatch):
    for name, logger in (("tensorboardX", training.TensorBoardLogger("x")), ("wandb", training.WandbLogger())):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(ImportError, match=f"needs {name}: pip install"):
            loop(callbacks=[logger]).run()


# --- learning rates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [optimizers.Adam, optimizers.SGD])
def test_the_finder_leaves_everything_as_it_was(make):
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=8), seed=0)
    optimizer = make(model.parameters, lr=0.01)
    batches = list(itertools.islice(data.batches(np.arange(1000) % 7, batch=4, time=10, seed=0), 100))
    training.Loop(model, optimizer, batches, steps=3).run()
    before, state = model.parameters.flat.copy(), optimizer.state_dict()
    result = training.find_lr(model, optimizer, batches, low=1e-5, high=100.0, steps=80)
    assert np.array_equal(model.parameters.flat, before) and not model.parameters.gradient_flat.any() and optimizer.lr == 0.01
    after = optimizer.state_dict()
    assert all(np.array_equal(after[name], state[name]) for name in state)
    assert 1e-5 < result.suggestion < 10 and len(result.rates) == len(result.losses) <= 80
    assert np.allclose(np.diff(np.log(result.rates)), np.log(1e7) / 79)
    assert repr(result).startswith(f"RateTest(suggestion={result.suggestion:.3g}, of {len(result.rates)} rates from 1e-05 to ")
    losses = {}
    for lr in (result.suggestion, 1e-5):
        fresh = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=8), seed=0)
        run = training.Loop(fresh, make(fresh.parameters, lr=lr), batches, steps=100)
        run.run()
        losses[lr] = run.loss
    assert losses[result.suggestion] < losses[1e-5] - 0.3


def test_the_finder_refuses_what_cannot_be():
    run = loop()
    for options, message in (({"low": 0}, "low"), ({"low": 1.0, "high": 0.5}, "above low"), ({"steps": 2}, "steps")):
        with pytest.raises(ValueError, match=message):
            training.find_lr(run.model, run.optimizer, run.batches, **options)


def test_another_table_is_not_added_to(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other.csv is another table: it has no column 'step', but a, b"):
        loop(callbacks=[training.CSVLogger(tmp_path / "other.csv", append=True)]).run()
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
