"""CUDA kernels on the CPU: g++ compiles the same .cu files against a header that plays the GPU, and ctypes calls them.

``include/shim.h`` is that header, ``loader.py`` compiles and launches, ``fake_cupy`` is so much of CuPy as minilm uses, on NumPy
arrays, so that ops, layers and models run as they are. Blind spots: numbers of tensor cores, timing, and races between blocks
where the launch is not cooperative.
"""
