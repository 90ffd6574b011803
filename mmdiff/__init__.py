"""mmdiff: printable periodic unit cells with given elastic tensors, in JAX.

Import the part you need, for example `mmdiff.fem.homogenize`; nothing is imported here,
so that `import mmdiff` is instant and the command line answers without loading JAX.
"""

__version__ = "0.1.0"
