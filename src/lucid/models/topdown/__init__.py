"""`TopDownVAE`: deep hierarchies in which every latent reaches the data, from one page of digits to VDVAE's size."""

from __future__ import annotations

from lucid.models.topdown.config import Stage, TopDownConfig
from lucid.models.topdown.model import TopDownVAE
from lucid.models.topdown.presets import topdown_preset

__all__ = ["Stage", "TopDownConfig", "TopDownVAE", "topdown_preset"]
