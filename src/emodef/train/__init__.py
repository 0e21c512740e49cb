"""Training: the only part of emodef that imports torch and transformers. Needs the extra [train]."""

from emodef.errors import require

for _module in ("torch", "transformers", "accelerate", "safetensors", "pydantic"):
    require(_module, extra="train")
