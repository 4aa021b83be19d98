"""U-ViT in plain PyTorch, for comparison of speed; see `transformers`."""

import math

import torch
from torch import nn
from torch_models.transformers import Attention, Mlp, PatchEmbed, unpatchify


class Block(nn.Module):
  """Pre-norm block, with an optional skip connection by concatenation."""

  def __init__(self, dim, heads, skip=False):
    super().__init__()
    self.norm1 = nn.LayerNorm(dim)
    self.attn = Attention(dim, heads)
    self.attn.qkv = nn.Linear(dim, 3 * dim, bias=False)
    self.norm2 = nn.LayerNorm(dim)
    self.mlp = Mlp(dim, 4, "none")
    self.skip_linear: nn.Linear | None = (
      nn.Linear(2 * dim, dim) if skip else None
    )

  def forward(self, x, skip=None):
    """(B, N, D) -> (B, N, D)."""
    if self.skip_linear is not None:
      x = self.skip_linear(torch.cat([x, skip], dim=-1))
    x = x + self.attn(self.norm1(x))
    return x + self.mlp(self.norm2(x))


class UViT(nn.Module):
  """Unconditional U-ViT on pixels."""

  def __init__(self, side, patch, dim, depth, heads, channels=3):
    super().__init__()
    self.patch, self.grid, self.dim = patch, side // patch, dim
    self.patch_embed = PatchEmbed(patch, channels, dim)
    self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
    half = range(depth // 2)
    self.in_blocks = nn.ModuleList(Block(dim, heads) for _ in half)
    self.mid_block = Block(dim, heads)
    self.out_blocks = nn.ModuleList(Block(dim, heads, True) for _ in half)
    self.norm = nn.LayerNorm(dim)
    self.decoder_pred = nn.Linear(dim, patch**2 * channels)
    self.final_layer = nn.Conv2d(channels, channels, 3, padding=1)

  def forward(self, x, t):
    """(B, C, H, W) and (B,) -> (B, C, H, W)."""
    half = self.dim // 2
    steps = torch.arange(half, device=t.device)
    freqs = torch.exp(-math.log(10000) * steps / half)
    angles = t[:, None] * freqs
    time = torch.cat([angles.cos(), angles.sin()], dim=-1)[:, None]
    x = torch.cat([time, self.patch_embed(x)], dim=1) + self.pos_embed
    skips = []
    for block in self.in_blocks:
      x = block(x)
      skips.append(x)
    x = self.mid_block(x)
    for block in self.out_blocks:
      x = block(x, skips.pop())
    x = self.decoder_pred(self.norm(x))[:, 1:]
    return self.final_layer(unpatchify(x, self.patch, self.grid))
