"""Image-space DiffiT in plain PyTorch; see `transformers`."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_models.transformers import Mlp


def norm(channels):
  """Returns a group norm with at least 4 channels a group."""
  return nn.GroupNorm(min(32, channels // 4), channels, 1e-6)


class Attention(nn.Module):
  """Attention in windows, with the time in queries, keys and values."""

  def __init__(self, dim, heads, window, time):
    super().__init__()
    self.heads = heads
    self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
    self.time_qkv = nn.Linear(time, 3 * dim)
    offsets = 2 * window - 1
    self.position_bias = nn.Parameter(torch.zeros(offsets**2, heads))
    row, column = torch.meshgrid(
      torch.arange(window), torch.arange(window), indexing="ij"
    )
    row, column = row.flatten(), column.flatten()
    rows = row[:, None] - row + window - 1
    columns = column[:, None] - column + window - 1
    self.register_buffer("index", rows * offsets + columns, persistent=False)

  def forward(self, x, time):
    """(B n, N, D), (B, E) -> (B n, N, D)."""
    windows, tokens, dim = x.shape
    shift = self.time_qkv(time).repeat_interleave(windows // len(time), dim=0)
    qkv = self.qkv(x) + shift[:, None]
    qkv = qkv.view(windows, tokens, 3, self.heads, dim // self.heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    bias = self.position_bias[self.index].permute(2, 0, 1)[None].to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, bias)
    return self.proj(out.transpose(1, 2).reshape(x.shape))


class DiffiTBlock(nn.Module):
  """Pre-norm block without affine norms."""

  def __init__(self, dim, window, time):
    super().__init__()
    self.norm1 = nn.LayerNorm(dim, 1e-6, elementwise_affine=False)
    self.attn = Attention(dim, dim // 32, window, time)
    self.norm2 = nn.LayerNorm(dim, 1e-6, elementwise_affine=False)
    self.mlp = Mlp(dim, 4, "tanh")

  def forward(self, x, time):
    """(B n, N, D), (B, E) -> (B n, N, D)."""
    x = x + self.attn(self.norm1(x), time)
    return x + self.mlp(self.norm2(x))


class ResBlock(nn.Module):
  """Norm, convolution and the transformer block in windows."""

  def __init__(self, dim, window, time):
    super().__init__()
    self.window, self.norm = window, norm(dim)
    self.conv = nn.Conv2d(dim, dim, 3, padding=1)
    self.block = DiffiTBlock(dim, window, time)

  def forward(self, x, time):
    """(B, C, H, W), (B, E) -> (B, C, H, W)."""
    batch, channels, height, width = x.shape
    side = self.window
    rows, columns = height // side, width // side
    h = self.conv(F.silu(self.norm(x)))
    h = h.view(batch, channels, rows, side, columns, side)
    h = h.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, channels)
    h = self.block(h, time)
    h = h.view(batch, rows, columns, side, side, channels)
    return x + h.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class Stage(nn.Module):
  """Blocks of one resolution."""

  def __init__(self, into, dim, depth, window, time):
    super().__init__()
    self.match: nn.Linear | None = nn.Linear(into, dim) if into != dim else None
    self.names = [f"blocks_{i}" for i in range(depth)]
    for name in self.names:
      setattr(self, name, ResBlock(dim, window, time))

  def forward(self, x, time):
    """(B, C, H, W), (B, E) -> (B, C', H, W)."""
    if self.match is not None:
      x = self.match(x.movedim(1, -1)).movedim(-1, 1)
    for name in self.names:
      x = getattr(self, name)(x, time)
    return x


class ImageDiffiT(nn.Module):
  """Unconditional DiffiT on square images of 3 channels."""

  def __init__(self, side, widths, depths, window):
    super().__init__()
    self.stages, frequencies, time = len(widths), 128, 512
    self.augment_embed = nn.Linear(9, frequencies, bias=False)
    self.time_fc1 = nn.Linear(frequencies, time)
    self.time_fc2 = nn.Linear(time, time)
    self.tokenizer = nn.Conv2d(3, widths[0], 3, padding=1)
    width = widths[0]
    for i, (dim, depth) in enumerate(zip(widths, depths, strict=True)):
      size = min(window, side >> i)
      setattr(self, f"encoder_{i}", Stage(width, dim, depth, size, time))
      width = dim
      if i < self.stages - 1:
        down = nn.Conv2d(dim, dim, 3, stride=2, padding=1)
        up = nn.Conv2d(widths[i + 1], widths[i + 1], 3, padding=1)
        stage = Stage(dim + widths[i + 1], dim, depth, size, time)
        setattr(self, f"downsample_{i}", down)
        setattr(self, f"upsample_{i}", up)
        setattr(self, f"decoder_{i}", stage)
    self.head_norm = norm(widths[0])
    self.head = nn.Conv2d(widths[0], 3, 3, padding=1)

  def forward(self, x, t):
    """(B, 3, H, W), (B,) -> (B, 3, H, W)."""
    angles = t[:, None] * 10_000.0 ** -(torch.arange(64, device=t.device) / 63)
    time = torch.cat([angles.cos(), angles.sin()], dim=1)
    time = time + self.augment_embed(torch.zeros(len(x), 9, device=x.device))
    time = self.time_fc2(F.silu(self.time_fc1(time)))
    x, skips = self.tokenizer(x), []
    for i in range(self.stages):
      x = getattr(self, f"encoder_{i}")(x, time)
      if i < self.stages - 1:
        skips.append(x)
        x = getattr(self, f"downsample_{i}")(x)
    for i in reversed(range(self.stages - 1)):
      x = F.interpolate(x, scale_factor=2, mode="nearest")
      x = torch.cat([getattr(self, f"upsample_{i}")(x), skips[i]], dim=1)
      x = getattr(self, f"decoder_{i}")(x, time)
    return self.head(self.head_norm(x))
