"""CPU kernels: how they are compiled (`jit`), kept on disk (`kernel_cache`) and waited for (`waiting`)."""
