"""A text larger than memory may be: ``python -m tests.data.large --gigabytes 1`` tokenises and trains, and says what that took.

Of each piece of work: seconds, seconds per million tokens, and the most memory that was resident, of the process (VmHWM) and of
the largest of its workers. The text is a small one over and over with other words in each copy. It goes, with its tokens, into
--folder.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import time

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 64}
STEPS = 1000


def resident() -> str:
    """The peak of this process, and of its largest child."""
    with open("/proc/self/status") as file:
        own = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    return f"{own:,.0f} MiB resident, workers {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:,.0f} MiB"


def write_text(path: str, size: int) -> None:
    """A text of about so many bytes."""
    from minilm import data

    rng, words = random.Random(0), "".join(data.text("stories")).split(" ")
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < size:
            for place in rng.sample(range(len(words)), 200):
                words[place] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
            file.write(" ".join(words) + "\n")


def tokenise(path: str, folder: str) -> None:
    """Train a tokenizer on the head of the text, and encode all of it."""
    from minilm import data, tokenizers

    text = data.text(path)
    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(data.Text(path, 0, 5_000_000), vocab_size=4096)
    begin = time.perf_counter()
    tokens = data.tokens(text, tokenizer, folder)
    seconds = time.perf_counter() - begin
    print(
        f"  tokenising  {tokens.size:,} tokens in {seconds:,.1f} s, {1e6 * seconds / tokens.size:.3f} s a million; {resident()}"
    )


def train(path: str, folder: str) -> None:
    """Steps on windows from anywhere in the tokens."""
    from minilm import data, models, optimizers, training

    tokens = data.shards(folder)
    model = models.GPT(models.GPTConfig(vocab_size=4096, **SIZES), seed=0)
    loop = training.Loop(model, optimizers.Adam(model.parameters), data.batches(tokens, 16, 64, seed=0), steps=STEPS)
    begin = time.perf_counter()
    loop.run()
    seconds = time.perf_counter() - begin
    count = STEPS * 16 * 64
    print(f"  training    {count:,} tokens in {seconds:,.1f} s, {1e6 * seconds / count:.3f} s a million; {resident()}")


def main() -> None:
    """Each piece of work in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.data.large", description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[0.1, 1.0])
    parser.add_argument("--folder", required=True, help="where text and tokens are written, and removed")
    parser.add_argument("--work", choices=["tokenise", "train"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    path, folder = os.path.join(args.folder, "large.txt"), os.path.join(args.folder, "tokens")
    if args.work:
        {"tokenise": tokenise, "train": train}[args.work](path, folder)
        return
    for size in args.gigabytes:
        os.makedirs(folder)
        write_text(path, int(1e9 * size))
        print(f"{size:g} GB of text", flush=True)
        for work in ("tokenise", "train"):
            subprocess.run([sys.executable, "-m", "tests.data.large", "--folder", args.folder, "--work", work], check=True)
        os.remove(path)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
