"""`minilm plan`: what a run would need, before it is begun."""

from __future__ import annotations

import argparse
import json

from minilm.cli.unused import refuse_unused

DESCRIPTION = """\
Say what training a model needs: parameters, memory by part, operations, bytes between devices, and time. Rates are those of this
machine, measured at first (some seconds) and kept, or printed ones of a named device. Where it does not fit, it says what would.
"""

EPILOG = """\
Settings are those of `minilm train`: --set batch=512, --set time=1024, --set model.recompute=true, --set accumulate=4. Examples:

  minilm plan --model gpt2 --device a100 --gpus 8 --tokens 10e9 --set precision=bf16
  minilm plan --model gpt3-175b --device h100 --gpus 1024 --set precision=bf16
  minilm plan --model lstm --set model.hidden_size=1024 --vocabulary 10000
"""


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "plan",
        help="memory, time and traffic of a training run, before it is begun",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="gpt2, gpt3-175b, llama3-8b, mixtral-8x7b, ..., or as of `minilm train`"
    )
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="devices, or processes of this machine (1)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, this machine (the default), or a100, h100, h200")
    parser.add_argument(
        "--machine", metavar="FILE", help="rates of another machine, as `minilm choose --save-machine` writes them"
    )
    parser.add_argument("--vocabulary", type=int, metavar="V", help="different tokens (the model's own, or 100)")
    parser.add_argument("--tokens", type=float, metavar="N", help="tokens to train on; 20 a parameter without it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="a setting; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Plan and tell; 1 where it does not fit."""
    from minilm.ops import checks
    from minilm.planner import cluster, training_plan

    checks.whole("--gpus", args.gpus, 1, 2**20)
    if args.device not in ("cpu", "cuda"):
        refuse_unused(args, ("machine",), f"is for --device cpu or cuda: of {args.device} there are printed rates")
    config, vocabulary = training_plan.planned_config(args.model, args.sets, args.gpus)
    vocabulary = vocabulary if args.vocabulary is None else checks.whole("--vocabulary", args.vocabulary, 2, 2**31)
    if args.device in ("cpu", "cuda"):
        from minilm.cli.choose import machine_of

        devices = cluster.of_machine(machine_of(args_of_choose(args)), args.gpus)
    else:
        devices = cluster.cluster(args.device, args.gpus, config.precision)
    plan = training_plan.plan(config, vocabulary, devices)
    variants = training_plan.variants(config, vocabulary, devices)
    tokens = 20.0 * plan.parameters if args.tokens is None else checks.number("--tokens", args.tokens, 1, 1e18)
    if args.json:
        total = {"tokens": tokens, "seconds": tokens / plan.tokens * plan.step, "flops": tokens * plan.flops}
        content = {**plan._asdict(), "config": config.to_dict(), "step": plan.step, "total": total}
        content |= {
            "variants": [each._asdict() for each in variants],
            "rates": devices.machine.summary(),
            "source": devices.source,
        }
        print(json.dumps(content, indent=2))
    else:
        _print(args, plan, variants, devices, tokens)
    return 0 if plan.fits else 1


def args_of_choose(args) -> argparse.Namespace:
    """What `minilm choose` reads of the options, to measure the machine as it does."""
    return argparse.Namespace(machine=args.machine, device=args.device, measure=False)


def _print(args, plan, variants, devices, tokens: float) -> None:
    from minilm.cli.choose import in_bytes, in_seconds
    from minilm.planner import training_plan

    config, steps = plan.config, tokens / plan.tokens
    print(f"{args.model} on {devices.count} × {devices.machine.name or 'this machine'}")
    print(f"  rates: {devices.machine.summary()}")
    print(f"  from: {devices.source}; a link {devices.link / 1e9:.0f} GB/s")
    rows = config.batch // (devices.count * config.accumulate)
    print(f"  {plan.parameters:,} parameters")
    print(f"  a step: {plan.tokens:,} tokens, {config.batch:,} rows of {config.time:,}, of which {rows} at a time on a device")
    print(f"  {plan.flops:.3g} operations a token, {tokens * plan.flops:.3g} for {tokens:,.0f} tokens")
    print(f"\nmemory of a device: {in_bytes(plan.needed)} of {in_bytes(plan.available)}")
    for name, size in plan.memory.items():
        print(f"  {name:<24}{in_bytes(size):>12}")
    if plan.cache:
        print(f"  {'to write one text':<24}{in_bytes(plan.cache):>12}  (keys and values, or a state; not while it trains)")
    rate = f"{plan.tokens / plan.step:,.0f} tokens a second"
    print(f"\na step: {in_seconds(plan.step)}, {rate}; each device sends {in_bytes(plan.wire)}")
    for name, seconds in plan.seconds.items():
        print(f"  {name:<24}{in_seconds(seconds):>12}")
    print(f"  {'(matrix products alone':<24}{in_seconds(plan.products):>12})")
    hours = steps * plan.step / 3600
    print(f"\n{tokens:,.0f} tokens: {steps:,.0f} steps, {hours:,.1f} hours, {hours * devices.count:,.0f} device-hours\n")
    for each in variants:
        fits = "" if each.fits else "  does not fit"
        print(f"  {each.change:<24}{in_bytes(each.memory):>12}{in_seconds(each.step):>12} a step{fits}")
    if not plan.fits:
        print(f"\n{_what_would(plan, variants, training_plan.split(plan))}")


def _what_would(plan, variants, split: int) -> str:
    fitting = [each for each in variants if each.fits]
    if fitting:
        best = min(fitting, key=lambda each: each.step)
        return f"It does not fit; with {best.change} it does."
    if split > 1:
        return (
            f"It does not fit, and no setting changes that: weights, gradients and optimizer alone fill {split} devices, and "
            "minilm does not split a model over devices."
        )
    return "It does not fit, and these settings do not change that: a smaller model, shorter texts or a larger device would."
