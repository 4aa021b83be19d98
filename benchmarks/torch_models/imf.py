"""The network of improved MeanFlow in plain PyTorch; see `transformers`.

Modules have the names of get_jax, because the official checkpoints are Flax's.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch_models.transformers import unpatchify


def linear(into, out):
  """Returns a linear layer without bias."""
  return nn.Linear(into, out, bias=False)


def rotate(x, cos, sin):
  """Rotates adjacent pairs of channels of x (B, N, K, d) in float32."""
  first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
  rotated = torch.stack(
    [first * cos - second * sin, second * cos + first * sin], dim=-1
  )
  return rotated.flatten(-2)


class Attention(nn.Module):
  """Self-attention with normalised and rotated queries and keys."""

  def __init__(self, dim, heads):
    super().__init__()
    self.heads = heads
    self.query, self.key = linear(dim, dim), linear(dim, dim)
    self.value, self.proj = linear(dim, dim), linear(dim, dim)
    self.query_norm = nn.RMSNorm(dim // heads, 1e-6)
    self.key_norm = nn.RMSNorm(dim // heads, 1e-6)

  def forward(self, x, cos, sin):
    """(B, N, D) -> (B, N, D)."""
    shape = *x.shape[:2], self.heads, -1
    v = self.value(x).view(shape)
    q = rotate(self.query_norm(self.query(x).view(shape)), cos, sin).to(v.dtype)
    k = rotate(self.key_norm(self.key(x).view(shape)), cos, sin).to(v.dtype)
    q, k, v = (a.transpose(1, 2) for a in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v)
    return self.proj(out.transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
  """SwiGLU without biases."""

  def __init__(self, dim, hidden):
    super().__init__()
    self.gate, self.fc1 = linear(dim, hidden), linear(dim, hidden)
    self.fc2 = linear(hidden, dim)

  def forward(self, x):
    """(B, N, D) -> (B, N, D)."""
    return self.fc2(F.silu(self.gate(x)) * self.fc1(x))


class Block(nn.Module):
  """Pre-norm block with a gate for each channel."""

  def __init__(self, dim, heads):
    super().__init__()
    self.norm1, self.norm2 = nn.RMSNorm(dim, 1e-6), nn.RMSNorm(dim, 1e-6)
    self.attn, self.mlp = Attention(dim, heads), Mlp(dim, int(dim * 8 / 3))
    self.attn_gate = nn.Parameter(torch.zeros(dim))
    self.mlp_gate = nn.Parameter(torch.zeros(dim))

  def forward(self, x, cos, sin):
    """(B, N, D) -> (B, N, D)."""
    x = x + self.attn_gate * self.attn(self.norm1(x), cos, sin)
    return x + self.mlp_gate * self.mlp(self.norm2(x))


class ScalarEmbed(nn.Module):
  """Sinusoidal embedding of 256 channels and an MLP."""

  def __init__(self, dim):
    super().__init__()
    self.fc1, self.fc2 = nn.Linear(256, dim), nn.Linear(dim, dim)

  def forward(self, t):
    """(B,) -> (B, D)."""
    steps = torch.arange(128, dtype=torch.float32, device=t.device)
    angles = t[:, None] * torch.exp(-math.log(10000) * steps / 128)
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return self.fc2(F.silu(self.fc1(embedding)))


class FinalLayer(nn.Module):
  """RMS norm and a linear layer."""

  def __init__(self, dim, out):
    super().__init__()
    self.norm, self.linear = nn.RMSNorm(dim, 1e-6), nn.Linear(dim, out)

  def forward(self, x):
    """(B, N, D) -> (B, N, out)."""
    return self.linear(self.norm(x))


class LabelEmbed(nn.Module):
  """A table of class embeddings."""

  def __init__(self, rows, dim):
    super().__init__()
    self.table = nn.Embedding(rows, dim)

  def forward(self, y):
    """(B,) -> (B, D)."""
    return self.table(y)


class IMF(nn.Module):
  """The average velocity of class-conditional iMF on latents, patch 2."""

  COUNTS = {"class": 8, "w": 4, "t_min": 2, "t_max": 2, "h": 4}

  def __init__(self, side, dim, depth, head_depth, heads, classes=1000):
    super().__init__()
    self.grid, self.heads = side // 2, heads
    self.patch_embed = nn.Linear(16, dim)
    self.label_embed = LabelEmbed(classes + 1, dim)
    for name, count in self.COUNTS.items():
      if name != "class":
        setattr(self, f"{name}_embed", ScalarEmbed(dim))
      setattr(self, f"{name}_tokens", nn.Parameter(torch.zeros(count, dim)))
    self.names = [f"blocks_{i}" for i in range(depth - head_depth)]
    self.names += [f"u_blocks_{i}" for i in range(head_depth)]
    for name in self.names:
      setattr(self, name, Block(dim, heads))
    self.u_final = FinalLayer(dim, 16)
    width = dim // heads
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2).double() / width)
    tokens = self.grid**2 + sum(self.COUNTS.values())
    angles = torch.arange(tokens).double()[:, None, None] * frequencies
    self.register_buffer("cos", angles.cos().float(), persistent=False)
    self.register_buffer("sin", angles.sin().float(), persistent=False)

  def forward(self, x, t, y, h, w, t_min, t_max):
    """(B, 4, H, W), labels and scalars (B,) -> (B, 4, H, W)."""
    del t
    batch, grid = len(x), self.grid
    patches = x.view(batch, 4, grid, 2, grid, 2).permute(0, 2, 4, 3, 5, 1)
    patches = self.patch_embed(patches.reshape(batch, grid * grid, 16))
    parts = [self.class_tokens + self.label_embed(y)[:, None]]
    for name, value in {
      "w": 1 - 1 / w.clamp(min=1),
      "t_min": t_min,
      "t_max": t_max,
      "h": h,
    }.items():
      embedding = getattr(self, f"{name}_embed")(value)
      parts.append(getattr(self, f"{name}_tokens") + embedding[:, None])
    tokens = torch.cat([*parts, patches.float()], dim=1)
    for name in self.names:
      tokens = getattr(self, name)(tokens, self.cos, self.sin)
    return unpatchify(self.u_final(tokens[:, -grid * grid :]), 2, grid)
