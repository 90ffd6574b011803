"""Data-parallel training of the denoiser, with checkpoints and exact resume."""
