"""A text larger than memory may be: ``python -m tests.data.large --gigabytes 1`` tokenises and trains, and says what that took.

Of each piece of work: seconds, processor seconds per million tokens (which do not depend on what else runs), and the most memory
that was resident, of the process (VmHWM) and of the largest of its workers. The text is a small one over and over with other
words in each copy. It goes, with its tokens, into --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 64}
STEPS = 300
PROCESSES = 2  # that encode


class Cost(NamedTuple):
    """What a piece of work took."""

    work: str
    tokens: int
    seconds: float
    processor: float  # seconds, of the process and its workers
    resident: float  # bytes, the most of this process
    workers: float  # of the largest of its workers

    def __str__(self) -> str:
        a_million = 1e6 * self.processor / self.tokens
        memory = f"{self.resident / 2**20:,.0f} MiB resident, workers {self.workers / 2**20:,.0f} MiB"
        return f"{self.work:<12}{self.tokens:>15,} tokens {self.seconds:>9,.1f} s {a_million:>9.3f} CPU s a million  {memory}"


def processor() -> float:
    """Processor seconds so far, of this process and of the workers that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cost(work: str, run: Callable[[], int]) -> Cost:
    """Do a piece of work that returns how many tokens it went through."""
    begin, before = time.perf_counter(), processor()
    tokens = run()
    seconds, spent = time.perf_counter() - begin, processor() - before
    with open("/proc/self/status") as file:
        own = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Cost(work, tokens, seconds, spent, own, workers)


def write_text(path: str, size: int) -> None:
    """A text of about so many bytes."""
    from minilm import data

    rng, words = random.Random(0), "".join(data.text("stories")).split(" ")
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < size:
            copy = list(words)
            for place in rng.sample(range(len(words)), 200):
                copy[place] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
            file.write(" ".join(copy) + "\n")


def tokenise(path: str, folder: str) -> Cost:
    """Train a tokenizer on the head of the text, and encode all of it."""
    from minilm import data, tokenizers

    text = data.text(path)
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(data.Text(path, 0, 5_000_000), vocab_size=4096)
    return cost("tokenising", lambda: data.tokens(text, tokenizer, folder, processes=PROCESSES).size)


def train(path: str, folder: str) -> Cost:
    """Steps on windows from anywhere in the tokens."""
    from minilm import data, models, optimizers, training

    tokens = data.shards(folder)
    model = models.GPT(models.GPTConfig(vocab_size=4096, **SIZES), seed=0)
    loop = training.Loop(model, optimizers.Adam(model.parameters), data.batches(tokens, 16, 64, seed=0), steps=STEPS)

    def run() -> int:
        loop.run()
        return STEPS * 16 * 64

    return cost("training", run)


def costs(size: int, folder: str) -> Iterator[Cost]:
    """Write a text, and do each piece of work in a process of its own."""
    path, tokens = os.path.join(folder, "large.txt"), os.path.join(folder, "tokens")
    os.makedirs(tokens)
    write_text(path, size)
    for work in WORK:
        command = [sys.executable, "-m", "tests.data.large", "--folder", folder, "--work", work]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        yield Cost(*json.loads(output.splitlines()[-1]))
    os.remove(path)
    shutil.rmtree(tokens)


WORK = {"tokenise": tokenise, "train": train}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.data.large", description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[0.1, 1.0])
    parser.add_argument("--folder", required=True, help="where text and tokens are written, and removed")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(WORK[args.work](os.path.join(args.folder, "large.txt"), os.path.join(args.folder, "tokens"))))
        return
    for size in args.gigabytes:
        print(f"{size:g} GB of text", flush=True)
        for each in costs(int(1e9 * size), args.folder):
            print(f"  {each}", flush=True)


if __name__ == "__main__":
    main()
