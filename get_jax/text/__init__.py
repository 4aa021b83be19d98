"""Text to what networks are conditioned on: CLIP's tokens and hidden states."""

from get_jax.text.encoder import CLIPTextEncoder as CLIPTextEncoder
from get_jax.text.tokenizer import Tokenizer as Tokenizer
