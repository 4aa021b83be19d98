"""A page in the browser that generates images; needs get_jax[demo]."""

__all__ = [
  "controls",
  "networks",
  "page",
  "server",
  "settings",
  "texts",
  "timing",
]
