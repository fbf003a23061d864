"""Faults in optimizers, schedules and averages."""

from tests.mutants.fault import area

OPTIMIZERS = "tests/optimizers/test_optimizers.py"

FAULTS = area(
    "optimizers",
    ("clipping by the norm of each group", "minilm/optimizers/base.py",
     "            own |= {} if shape is None else {\"shape\": shape}\n",
     "            own |= {} if shape is None else {\"shape\": shape}\n"
     "            if self.clip_norm is not None:\n"
     "                options[\"scale\"] = clip.scale(clip.norm(gradient[where]), self.clip_norm)\n",
     "tests/optimizers/test_clipping.py"),
    ("clipping to the norm, not to at most it", "minilm/ops/clip/__init__.py", "return min(1.0, max_norm / (",
     "return (max_norm / (", "tests/ops/test_update_ops.py -k clip"),
    ("decay of biases too", "minilm/optimizers/base.py", "float(len(self.parameters.shapes[name]) > 1 if", "float(True if",
     f"{OPTIMIZERS} -k matrices"),
    ("neighbouring groups are merged whatever they are", "minilm/optimizers/base.py", "groups[-1][2:] == group[2:]:",
     "True:", f"{OPTIMIZERS} -k matrices"),
    ("steps are not restored", "minilm/optimizers/base.py", '        self.steps = int(state["steps"])\n', "",
     "tests/optimizers/test_resuming.py -k resumed"),
    ("a rate given to a step is ignored", "minilm/optimizers/base.py", "lr = self.lr if lr is None else checks.rate",
     "lr = self.lr if True else checks.rate", f"{OPTIMIZERS} -k torch"),
    ("Adam's decay is decoupled", "minilm/optimizers/adam.py", "    decoupled = False\n", "    decoupled = True\n",
     f"{OPTIMIZERS} -k torch"),
    ("clip_gradients lengthens short gradients", "minilm/optimizers/clipping.py", "    elif scale < 1:\n",
     "    else:\n"
     "        scale = max_norm / norm\n", f"{OPTIMIZERS} -k clip_gradients"),
    ("cosine: final is not reached", "minilm/optimizers/schedules.py", "(1 + math.cos(angle)) / 2",
     "(1 + math.cos(angle / 2)) / 2", "tests/optimizers/test_schedules.py"),
    ("cosine: warm-up counts from the peak", "minilm/optimizers/schedules.py", "return self.peak * progress / self.warmup",
     "return self.peak", "tests/optimizers/test_schedules.py"),
    ("epoch decay begins one epoch late", "minilm/optimizers/schedules.py", "math.floor(epoch) + 1 - self.after",
     "math.floor(epoch) - self.after", "tests/optimizers/test_schedules.py"),
    ("plateau: the count goes on after a division", "minilm/optimizers/schedules.py",
     'state.update(waited=0, divisions=state["divisions"] + 1)', 'state.update(divisions=state["divisions"] + 1)',
     "tests/optimizers/test_schedules.py"),
    ("plateau: any fall counts, whatever the threshold", "minilm/optimizers/schedules.py",
     'if loss < state["best"] - self.threshold:', 'if loss < state["best"]:', "tests/optimizers/test_schedules.py"),
    ("average: biased towards the first weights", "minilm/optimizers/average.py",
     "return max(1 - self.decay, 1 / (self.updates + 1))", "return 1 - self.decay", f"{OPTIMIZERS} -k average"),
    ("average: the weights are not put back", "minilm/optimizers/average.py", "            self.parameters.flat[...] = own\n",
     "            pass\n", f"{OPTIMIZERS} -k average"),
)  # fmt: skip
