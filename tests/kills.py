"""Processes killed at random moments, in the midst of a write too, and what they leave: ``python -m tests.kills --times 200``.

Of five kinds of work, each goes on in a new process after every kill, until it has been killed often enough:

training       `minilm.training.train`, with a checkpoint every other step, some of them kept
checkpoints    the same, but killed at a random call that opens, writes, syncs, renames or removes a file, half of a write done
tokenising     `minilm.data.tokens` of a text into a token file
downloading    `minilm.data.fetch` from a slow server
weights        ``save_pretrained`` over weights that are there

After each kill the folder must load, and in the end everything must be, bit for bit, what work that nobody disturbed gives.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import os
import random
import signal
import sys
import tempfile
import threading
import time

import numpy as np

from minilm import data, models, tokenizers, training
from minilm.data import token_writer
from minilm.data.manifest import Corpus
from tests.disk_faults import HOW, in_child

SMALL = {"n_positions": 8, "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 64}


def killed_after(seconds: float, work) -> bool:
    """Do `work` in a child, and kill it after so long; whether it had ended by itself."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the work failed: exit status {status}"
    return status == 0


class Training:
    """A run that is killed, and goes on."""

    seconds = 0.6  # within which it is killed

    def __init__(self, folder: str, rng: random.Random):
        self.folder, self.run, self.steps = folder, os.path.join(folder, "run"), []
        corpus = os.path.join(folder, "text.txt")
        with open(corpus, "w") as file:
            file.write(" ".join(rng.choices("the a small old red fox hen barn ran sat".split(), k=3000)))
        options = {"corpus": corpus, "batch": 4, "time": 16, "steps": 10**6, "sample": {"tokens": 0}, "checkpoint_every": 2}
        options |= {"model": {"embedding_size": 6, "hidden_size": 10, "dropout": 0.2}, "schedule": {"name": "constant"}}
        options |= {"average": 0.9, "keep_every": 50, "evaluate_every": 30, "evaluate_tokens": 100, "checkpoint_seconds": "none"}
        self.config = training.configuration(options=options)
        training.train(self.config.replace(steps=2), out=os.path.join(folder, "compiled"))

    def work(self) -> None:
        """A process of it."""
        begun = os.path.exists(os.path.join(self.run, "training.json"))
        training.train(None if begun else self.config, out=self.run, resume=begun)

    def check(self) -> None:
        """Whether what the process left can be used."""
        if os.path.exists(os.path.join(self.run, "training.json")):
            self.steps.append(training.load_run(self.run).state.step)
            assert self.steps == sorted(self.steps), "a later checkpoint was lost"

    def finish(self) -> str:
        """Bring it to an end, and compare with work that nobody disturbed."""
        config = self.config.replace(steps=max(self.steps, default=0) + 10)
        self.steps = self.steps or [0]
        begun = os.path.exists(os.path.join(self.run, "training.json"))
        training.train(config, out=self.run, resume=begun)
        whole = os.path.join(self.folder, "whole")
        training.train(config, out=whole)
        for name in ("model.safetensors", "optimizer.safetensors", "trace.f64"):
            with open(os.path.join(self.run, name), "rb") as one, open(os.path.join(whole, name), "rb") as other:
                assert one.read() == other.read(), f"{name} differs from the undisturbed run's"
        return f"{config.steps:,} steps, {len(set(self.steps))} different checkpoints"


class Checkpoints(Training):
    """The same, killed inside of what writes."""

    def kill(self, rng: random.Random) -> None:
        """One process."""
        in_child(rng.randrange(120), self.work, rng.choice(HOW[:2]))


class Tokenising:
    """A token file."""

    seconds = 0.25

    def __init__(self, folder: str, rng: random.Random):
        self.out, path, self.whole = os.path.join(folder, "tokens"), os.path.join(folder, "text.txt"), 0
        with open(path, "w") as file:
            file.write("\n".join("".join(rng.choices("abcdefghij ", k=60)) for _ in range(20_000)))
        self.text = data.text(path)
        token_writer.SAVED = 1 << 18  # so often that kills come between
        self.tokenizer = tokenizers.Character.train_from_chunks(self.text)
        self.ids = np.array(data.tokens(self.text, self.tokenizer, os.path.join(folder, "whole")))

    def work(self) -> None:
        data.tokens(self.text, self.tokenizer, self.out)

    def check(self) -> None:
        """What has a name is whole; then it goes, so that there is work for the next process."""
        for name in os.listdir(self.out) if os.path.isdir(self.out) else ():
            if name.endswith(".npy"):
                assert np.array_equal(data.load_tokens(os.path.join(self.out, name)), self.ids)
                os.remove(os.path.join(self.out, name))
                self.whole += 1

    def finish(self) -> str:
        assert np.array_equal(data.tokens(self.text, self.tokenizer, self.out), self.ids)
        left = [name for name in os.listdir(self.out) if not name.endswith(".npy")]
        assert not left, f"pieces are left: {left}"
        return f"{self.ids.size:,} ids, came whole {self.whole} times"


class Downloading:
    """A file of a server that takes its time."""

    seconds = 0.4

    def __init__(self, folder: str, rng: random.Random):
        os.environ["MINILM_CACHE"], os.environ["no_proxy"] = os.path.join(folder, "cache"), "*"
        self.content = rng.randbytes(600_000)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.content))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}/file"
        digest = hashlib.sha256(self.content).hexdigest()
        self.entry = Corpus("file", "file.txt", url, len(self.content), digest, "", "text", "")
        self.whole = 0

    def work(self) -> None:
        data.fetch(self.entry, progress=False)

    def check(self) -> None:
        if os.path.exists(self.entry.path):
            assert self.entry.fault() is None
            self.whole += 1
            os.remove(self.entry.path)

    def finish(self) -> str:
        with open(data.fetch(self.entry, progress=False), "rb") as file:
            assert file.read() == self.content
        self.server.shutdown()
        return f"{len(self.content):,} bytes, came whole {self.whole} times"


def _handler(content: bytes):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            with contextlib.suppress(OSError):
                for place in range(start, len(content), 20_000):
                    self.wfile.write(content[place : place + 20_000])
                    time.sleep(0.02)

        def log_message(self, *_):
            pass

    return Handler


class Weights:
    """Weights that replace others, and are loaded by whoever comes."""

    seconds = 0.3

    def __init__(self, folder: str, rng: random.Random):
        self.out, self.models = (
            os.path.join(folder, "model"),
            [models.GPT(models.GPTConfig(**SMALL), seed=seed) for seed in (0, 1)],
        )
        self.models[0].save_pretrained(self.out)
        self.count = 0

    def work(self) -> None:
        for _ in range(20):
            self.models[1].save_pretrained(self.out)
            self.models[0].save_pretrained(self.out)

    def check(self) -> None:
        weights = models.GPT.from_pretrained(self.out).parameters.flat
        which = [np.array_equal(weights, each.parameters.flat) for each in self.models]
        assert any(which), "the weights are neither model's"
        self.count += which[1]

    def finish(self) -> str:
        self.models[1].save_pretrained(self.out)
        self.check()
        left = [name for name in os.listdir(self.out) if name.endswith(".tmp")]
        assert not left, f"killed processes have left {', '.join(left)}"
        return f"replaced weights were there {self.count} times"


KINDS = {
    "training": Training,
    "checkpoints": Checkpoints,
    "tokenising": Tokenising,
    "downloading": Downloading,
    "weights": Weights,
}


def disturb(kind: str, times: int, folder: str, seed: int = 0) -> str:
    """Kill work of one kind so many times; what became of it. AssertionError: something was lost."""
    rng = random.Random(f"{kind} {seed}")
    work = KINDS[kind](folder, rng)
    for _ in range(times):
        if hasattr(work, "kill"):
            work.kill(rng)
        else:
            killed_after(rng.uniform(0, work.seconds), work.work)
        work.check()
    return work.finish()


def main() -> int:
    """Disturb every kind of work; 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=200, help="kills in all (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="kinds of work (all)")
    args = parser.parse_args()
    kinds, failed = args.kinds or list(KINDS), False
    for kind in kinds:
        times = -(-args.times // len(kinds))
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{kind:<12} killed {times} times: {disturb(kind, times, folder, args.seed)}", flush=True)
            except AssertionError as error:
                failed = True
                print(f"{kind:<12} FAILED: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
