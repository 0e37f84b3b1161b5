"""A reference trainer for masked diffusion language models."""
