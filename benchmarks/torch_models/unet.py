"""DDPM++ as EDM trains it, in plain PyTorch; see `transformers`.

Resampling with EDM's filter of two equal taps is average pooling and repetition
of pixels, which are faster than its convolutions.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def norm(channels):
  """Returns a group norm with at least 4 channels a group."""
  return nn.GroupNorm(min(32, channels // 4), channels, 1e-6)


def resample(x, up, down):
  """Doubles or halves the resolution."""
  if up:
    return F.interpolate(x, scale_factor=2, mode="nearest")
  return F.avg_pool2d(x, 2) if down else x


class Block(nn.Module):
  """Residual block, optionally with attention of one head."""

  def __init__(self, into, out, emb, attention=False, up=False, down=False):
    super().__init__()
    self.up, self.down = up, down
    self.norm0, self.norm1 = norm(into), norm(out)
    self.conv0 = nn.Conv2d(into, out, 3, padding=1)
    self.affine = nn.Linear(emb, out)
    self.conv1 = nn.Conv2d(out, out, 3, padding=1)
    self.skip: nn.Conv2d | None = None
    if into != out or up or down:
      self.skip = nn.Conv2d(into, out, 1)
    self.attention = attention
    if attention:
      self.norm2 = norm(out)
      self.qkv, self.proj = nn.Conv2d(out, 3 * out, 1), nn.Conv2d(out, out, 1)

  def forward(self, x, emb):
    """(B, C, H, W), (B, E) -> (B, C', H', W')."""
    h = self.conv0(resample(F.silu(self.norm0(x)), self.up, self.down))
    h = h + self.affine(emb)[:, :, None, None]
    h = self.conv1(F.silu(self.norm1(h)))
    if self.skip is not None:
      x = self.skip(resample(x, self.up, self.down))
    x = (h + x) * math.sqrt(0.5)
    if not self.attention:
      return x
    batch, channels, height, width = x.shape
    qkv = self.qkv(self.norm2(x)).view(batch, channels, 3, height * width)
    q, k, v = (a.transpose(1, 2)[:, None] for a in qkv.unbind(2))
    out = F.scaled_dot_product_attention(q, k, v)
    out = out[:, 0].transpose(1, 2).reshape(x.shape)
    return (x + self.proj(out)) * math.sqrt(0.5)


class SongUNet(nn.Module):
  """DDPM++ on images of 3 channels; attention where the height is 16."""

  def __init__(self, side, channels, mults, blocks):
    super().__init__()
    self.channels = channels
    emb = 4 * channels
    self.map_augment = nn.Linear(9, channels, bias=False)
    self.map_layer0 = nn.Linear(channels, emb)
    self.map_layer1 = nn.Linear(emb, emb)
    self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
    width, widths = channels, []
    for level, mult in enumerate(mults):
      res, out = side >> level, channels * mult
      name = f"{res}x{res}"
      if level == 0:
        self.enc[f"{name}_conv"] = nn.Conv2d(3, channels, 3, padding=1)
      else:
        self.enc[f"{name}_down"] = Block(width, width, emb, down=True)
      widths.append(width)
      for i in range(blocks):
        self.enc[f"{name}_block{i}"] = Block(width, out, emb, res == 16)
        width = out
        widths.append(width)
    for level, mult in reversed(list(enumerate(mults))):
      res, out = side >> level, channels * mult
      name = f"{res}x{res}"
      if level == len(mults) - 1:
        self.dec[f"{name}_in0"] = Block(width, width, emb, True)
        self.dec[f"{name}_in1"] = Block(width, width, emb)
      else:
        self.dec[f"{name}_up"] = Block(width, width, emb, up=True)
      for i in range(blocks + 1):
        attention = res == 16 and i == blocks
        into = width + widths.pop()
        self.dec[f"{name}_block{i}"] = Block(into, out, emb, attention)
        width = out
    self.dec[f"{name}_aux_norm"] = norm(width)
    self.dec[f"{name}_aux_conv"] = nn.Conv2d(width, 3, 3, padding=1)

  def forward(self, x, t):
    """(B, 3, H, W), (B,) -> (B, 3, H, W)."""
    half = self.channels // 2
    steps = torch.arange(half, device=t.device) / (half - 1)
    angles = t[:, None] * 10_000.0**-steps
    emb = torch.cat([angles.sin(), angles.cos()], dim=1)
    emb = emb + self.map_augment(torch.zeros(len(x), 9, device=x.device))
    emb = F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))
    skips = []
    for block in self.enc.values():
      x = block(x) if isinstance(block, nn.Conv2d) else block(x, emb)
      skips.append(x)
    for name, block in self.dec.items():
      if name.endswith("aux_norm"):
        x = F.silu(block(x))
      elif name.endswith("aux_conv"):
        x = block(x)
      else:
        if "_block" in name:
          x = torch.cat([x, skips.pop()], dim=1)
        x = block(x, emb)
    return x
