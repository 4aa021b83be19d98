"""Text conditioning: CLIP's tokenizer and text encoder."""

from get_jax.text.encoder import CLIPTextEncoder
from get_jax.text.tokenizer import Tokenizer

__all__ = ["CLIPTextEncoder", "Tokenizer"]
