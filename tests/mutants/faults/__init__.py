"""The planted faults, a file an area. Their texts are short, and of the formula rather than of the names around it."""

from tests.mutants.faults import cpu, cuda, data, generation, models, optimizers, oracle, tokenizers, training

FAULTS = [*oracle.FAULTS, *cpu.FAULTS, *cuda.FAULTS, *models.FAULTS, *training.FAULTS, *optimizers.FAULTS]
FAULTS += [*tokenizers.FAULTS, *generation.FAULTS, *data.FAULTS]
AREAS = [*dict.fromkeys(fault.area for fault in FAULTS)]
