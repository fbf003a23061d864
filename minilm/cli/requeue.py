"""Jobs that a scheduler starts again: the same command begins a run, and goes on with it."""

from __future__ import annotations

import os


def add_requeue(parser) -> None:
    """The option of jobs that are started again."""
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="begin the run in --out, or go on with it where it was begun: for jobs that Slurm starts again, where it is implied",
    )


def requeued(args, state: str) -> bool:
    """Whether to go on with the run in --out: told to, or a job that was started again finds it; `state` is its file."""
    again = args.requeue or int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    if args.requeue and (args.out is None or args.overwrite):
        raise ValueError("--requeue needs --out DIR, the run to begin or to go on with, and no --overwrite")
    if args.resume or not again or args.out is None or args.overwrite:
        return args.resume
    from minilm import distributed

    return distributed.first_alone(lambda: os.path.lexists(os.path.join(args.out, state)))
