"""DiT, ViT and GET in plain PyTorch, for comparison of speed.

They use a fused projection and PyTorch's attention kernel. Modules have the
names of the official checkpoints, so `get_jax.interop.export_official` exports
their weights, and a comparison of outputs shows that both implementations
compute the same function.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
  """Self-attention; `injection` is added to the fused projection."""

  def __init__(self, dim, heads):
    super().__init__()
    self.heads = heads
    self.qkv = nn.Linear(dim, 3 * dim)
    self.proj = nn.Linear(dim, dim)

  def forward(self, x, injection=None):
    """(B, N, D) -> (B, N, D)."""
    batch, tokens, dim = x.shape
    qkv = self.qkv(x)
    if injection is not None:
      qkv = qkv + injection
    qkv = qkv.view(batch, tokens, 3, self.heads, dim // self.heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v)
    return self.proj(out.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
  """Linear, GELU, linear."""

  def __init__(self, dim, ratio, approximate):
    super().__init__()
    self.fc1 = nn.Linear(dim, int(dim * ratio))
    self.fc2 = nn.Linear(int(dim * ratio), dim)
    self.act = nn.GELU(approximate=approximate)

  def forward(self, x):
    """(B, N, D) -> (B, N, D)."""
    return self.fc2(self.act(self.fc1(x)))


class PatchEmbed(nn.Module):
  """Convolution to tokens, in row-major order."""

  def __init__(self, patch, channels, dim):
    super().__init__()
    self.proj = nn.Conv2d(channels, dim, patch, patch)

  def forward(self, x):
    """(B, C, H, W) -> (B, N, D)."""
    return self.proj(x).flatten(2).transpose(1, 2)


def unpatchify(x, patch, side):
  """(B, N, P*P*C) -> (B, C, H, W)."""
  x = x.view(len(x), side, side, patch, patch, -1)
  x = x.permute(0, 5, 1, 3, 2, 4)
  return x.reshape(len(x), -1, side * patch, side * patch)


def modulate(x, shift, scale):
  """Returns x (1 + scale) + shift."""
  return x * (1 + scale[:, None]) + shift[:, None]


def head(dim, parts):
  """Returns SiLU and a linear layer, for shifts, scales and gates."""
  return nn.Sequential(nn.SiLU(), nn.Linear(dim, parts * dim))


class DiTBlock(nn.Module):
  """adaLN-Zero block."""

  def __init__(self, dim, heads):
    super().__init__()
    self.norm1 = nn.LayerNorm(dim, 1e-6, elementwise_affine=False)
    self.attn = Attention(dim, heads)
    self.norm2 = nn.LayerNorm(dim, 1e-6, elementwise_affine=False)
    self.mlp = Mlp(dim, 4, "tanh")
    self.adaLN_modulation = head(dim, 6)

  def forward(self, x, c):
    """(B, N, D), (B, D) -> (B, N, D)."""
    shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(
      c
    ).chunk(6, 1)
    x = x + gate1[:, None] * self.attn(modulate(self.norm1(x), shift1, scale1))
    h = self.mlp(modulate(self.norm2(x), shift2, scale2))
    return x + gate2[:, None] * h


class TimestepEmbed(nn.Module):
  """Sinusoidal embedding of 256 channels and an MLP."""

  def __init__(self, dim):
    super().__init__()
    self.mlp = nn.Sequential(
      nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim)
    )

  def forward(self, t):
    """(B,) -> (B, D)."""
    steps = torch.arange(128, dtype=torch.float32, device=t.device)
    angles = t[:, None] * torch.exp(-math.log(10000) * steps / 128)
    return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))


class LabelEmbed(nn.Module):
  """A table of class embeddings."""

  def __init__(self, rows, dim):
    super().__init__()
    self.embedding_table = nn.Embedding(rows, dim)

  def forward(self, y):
    """(B,) -> (B, D)."""
    return self.embedding_table(y)


class DiTFinalLayer(nn.Module):
  """Modulated norm and a linear layer."""

  def __init__(self, dim, out):
    super().__init__()
    self.norm_final = nn.LayerNorm(dim, 1e-6, elementwise_affine=False)
    self.linear = nn.Linear(dim, out)
    self.adaLN_modulation = head(dim, 2)

  def forward(self, x, c):
    """(B, N, D), (B, D) -> (B, N, out)."""
    shift, scale = self.adaLN_modulation(c).chunk(2, 1)
    return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
  """adaLN-Zero DiT with learned sigma on square latents of 4 channels."""

  def __init__(self, side, patch, dim, depth, heads, classes=1000):
    super().__init__()
    self.patch, self.grid = patch, side // patch
    self.x_embedder = PatchEmbed(patch, 4, dim)
    self.pos_embed = nn.Parameter(
      torch.zeros(1, self.grid**2, dim), requires_grad=False
    )
    self.t_embedder = TimestepEmbed(dim)
    self.y_embedder = LabelEmbed(classes + 1, dim)
    self.blocks = nn.ModuleList(DiTBlock(dim, heads) for _ in range(depth))
    self.final_layer = DiTFinalLayer(dim, patch * patch * 8)

  def forward(self, x, t, y):
    """(B, 4, H, W), (B,), (B,) -> (B, 8, H, W)."""
    x = self.x_embedder(x) + self.pos_embed
    c = self.t_embedder(t) + self.y_embedder(y)
    for block in self.blocks:
      x = block(x, c)
    return unpatchify(self.final_layer(x, c), self.patch, self.grid)


class Block(nn.Module):
  """Plain pre-norm block."""

  def __init__(self, dim, heads, ratio):
    super().__init__()
    self.norm1 = nn.LayerNorm(dim, 1e-6)
    self.attn = Attention(dim, heads)
    self.norm2 = nn.LayerNorm(dim, 1e-6)
    self.mlp = Mlp(dim, ratio, "none")

  def forward(self, x, injection=None):
    """(B, N, D) -> (B, N, D)."""
    x = x + self.attn(self.norm1(x), injection)
    return x + self.mlp(self.norm2(x))


class GETFinalLayer(nn.Module):
  """Norm and a linear layer."""

  def __init__(self, dim, out):
    super().__init__()
    self.norm_final = nn.LayerNorm(dim, 1e-6)
    self.linear = nn.Linear(dim, out)

  def forward(self, x):
    """(B, N, D) -> (B, N, out)."""
    return self.linear(self.norm_final(x))


class GET(nn.Module):
  """Unconditional GET on square images of 3 channels."""

  def __init__(self, side, dim, heads, depth, deq_depth, deq_mlp_ratio):
    super().__init__()
    self.grid = side // 2
    self.x_embedder = PatchEmbed(2, 3, dim)
    self.pos_embed = nn.Parameter(
      torch.zeros(1, self.grid**2, dim), requires_grad=False
    )
    self.blocks = nn.ModuleList(Block(dim, heads, 4) for _ in range(depth))
    self.qkv_inj = nn.Linear(dim, 3 * dim * deq_depth, bias=False)
    self.deq_blocks = nn.ModuleList(
      Block(dim, heads, deq_mlp_ratio) for _ in range(deq_depth)
    )
    self.final_layer = GETFinalLayer(dim, 12)

  def forward(self, noise, z0, iterations=6):
    """Noise (B, 3, H, W) and start (B, N, D) -> images (B, 3, H, W)."""
    x = self.x_embedder(noise) + self.pos_embed
    for block in self.blocks:
      x = block(x)
    injections = self.qkv_inj(x).chunk(len(self.deq_blocks), -1)
    z = z0
    for _ in range(iterations):
      for block, injection in zip(self.deq_blocks, injections, strict=True):
        z = block(z, injection)
    return unpatchify(self.final_layer(z), 2, self.grid)


class ViT(nn.Module):
  """Unconditional ViT on square images of 3 channels."""

  def __init__(self, side, patch, dim, depth, heads):
    super().__init__()
    self.patch, self.grid = patch, side // patch
    self.x_embedder = PatchEmbed(patch, 3, dim)
    self.pos_embed = nn.Parameter(
      torch.zeros(1, self.grid**2, dim), requires_grad=False
    )
    self.blocks = nn.ModuleList(Block(dim, heads, 4) for _ in range(depth))
    self.final_layer = GETFinalLayer(dim, patch * patch * 3)

  def forward(self, noise):
    """(B, 3, H, W) -> (B, 3, H, W)."""
    x = self.x_embedder(noise) + self.pos_embed
    for block in self.blocks:
      x = block(x)
    return unpatchify(self.final_layer(x), self.patch, self.grid)
