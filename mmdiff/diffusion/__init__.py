"""Noise schedules, training loss, guidance and samplers on a plain denoiser."""
