"""FID's Inception-v3 in plain PyTorch, for comparison of speed.

torchvision is not needed: the network is written from the same description as
`get_jax.evaluation.extractors.inception`. It runs the operations of pytorch-fid
(convolution, batch norm with epsilon 1e-3, in-place ReLU) and loads the same
checkpoint.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Conv(nn.Module):
  """Convolution without bias, batch norm and ReLU."""

  def __init__(self, into, out, kernel, stride=1, padding=0):
    super().__init__()
    self.conv = nn.Conv2d(into, out, kernel, stride, padding, bias=False)
    self.bn = nn.BatchNorm2d(out, eps=1e-3)

  def forward(self, x):
    """(B, C, H, W) -> (B, out, H', W')."""
    return F.relu(self.bn(self.conv(x)), inplace=True)


class Block(nn.Module):
  """Parallel towers of convolutions, whose outputs are concatenated.

  Args:
    into: input channels.
    towers: per tower, a list of (name, out, kernel, stride, padding). A tuple
      of two such entries is a pair of parallel convolutions.
    pool: "average", "max" (3x3, stride 1, then `branch_pool`), or "halve" (max
      pooling with stride 2).
    pool_features: output channels of `branch_pool`.
  """

  def __init__(self, into, towers, pool, pool_features=0):
    super().__init__()
    self.towers, self.pool = [], pool
    self.out = pool_features if pool_features else into
    for tower in towers:
      names, width = [], into
      for step in tower:
        forks = step if isinstance(step[0], tuple) else (step,)
        for name, *spec in forks:
          self.add_module(name, Conv(width, *spec))
        names.append([name for name, *_ in forks])
        width = sum(spec[0] for _, *spec in forks)
      self.towers.append(names)
      self.out += width
    if pool_features:
      self.branch_pool = Conv(into, pool_features, 1)

  def forward(self, x):
    """(B, C, H, W) -> (B, out, H', W')."""
    outs = []
    for names in self.towers:
      y = x
      for forks in names:
        y = torch.cat([getattr(self, name)(y) for name in forks], 1)
      outs.append(y)
    if self.pool == "halve":
      outs.append(F.max_pool2d(x, 3, 2))
    elif self.pool == "max":
      outs.append(self.branch_pool(F.max_pool2d(x, 3, 1, 1)))
    else:
      x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
      outs.append(self.branch_pool(x))
    return torch.cat(outs, 1)


def _mixed_a(into, pool_features):
  return Block(
    into,
    [
      [("branch1x1", 64, 1)],
      [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5, 1, 2)],
      [
        ("branch3x3dbl_1", 64, 1),
        ("branch3x3dbl_2", 96, 3, 1, 1),
        ("branch3x3dbl_3", 96, 3, 1, 1),
      ],
    ],
    "average",
    pool_features,
  )


def _mixed_c(c):
  wide, tall = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
  return Block(
    768,
    [
      [("branch1x1", 192, 1)],
      [
        ("branch7x7_1", c, 1),
        ("branch7x7_2", c, *wide),
        ("branch7x7_3", 192, *tall),
      ],
      [
        ("branch7x7dbl_1", c, 1),
        ("branch7x7dbl_2", c, *tall),
        ("branch7x7dbl_3", c, *wide),
        ("branch7x7dbl_4", c, *tall),
        ("branch7x7dbl_5", 192, *wide),
      ],
    ],
    "average",
    192,
  )


def _mixed_e(into, pool):
  wide, tall = (384, (1, 3), 1, (0, 1)), (384, (3, 1), 1, (1, 0))
  return Block(
    into,
    [
      [("branch1x1", 320, 1)],
      [
        ("branch3x3_1", 384, 1),
        (("branch3x3_2a", *wide), ("branch3x3_2b", *tall)),
      ],
      [
        ("branch3x3dbl_1", 448, 1),
        ("branch3x3dbl_2", 384, 3, 1, 1),
        (("branch3x3dbl_3a", *wide), ("branch3x3dbl_3b", *tall)),
      ],
    ],
    pool,
    192,
  )


class Inception(nn.Module):
  """The network up to its pool features."""

  def __init__(self):
    super().__init__()
    self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
    self.Conv2d_2a_3x3 = Conv(32, 32, 3)
    self.Conv2d_2b_3x3 = Conv(32, 64, 3, 1, 1)
    self.Conv2d_3b_1x1 = Conv(64, 80, 1)
    self.Conv2d_4a_3x3 = Conv(80, 192, 3)
    self.Mixed_5b = _mixed_a(192, 32)
    self.Mixed_5c = _mixed_a(256, 64)
    self.Mixed_5d = _mixed_a(288, 64)
    self.Mixed_6a = Block(
      288,
      [
        [("branch3x3", 384, 3, 2)],
        [
          ("branch3x3dbl_1", 64, 1),
          ("branch3x3dbl_2", 96, 3, 1, 1),
          ("branch3x3dbl_3", 96, 3, 2),
        ],
      ],
      "halve",
    )
    self.Mixed_6b = _mixed_c(128)
    self.Mixed_6c = _mixed_c(160)
    self.Mixed_6d = _mixed_c(160)
    self.Mixed_6e = _mixed_c(192)
    self.Mixed_7a = Block(
      768,
      [
        [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
        [
          ("branch7x7x3_1", 192, 1),
          ("branch7x7x3_2", 192, (1, 7), 1, (0, 3)),
          ("branch7x7x3_3", 192, (7, 1), 1, (3, 0)),
          ("branch7x7x3_4", 192, 3, 2),
        ],
      ],
      "halve",
    )
    self.Mixed_7b = _mixed_e(1280, "average")
    self.Mixed_7c = _mixed_e(2048, "max")
    self.fc = nn.Linear(2048, 1008)

  def forward(self, x):
    """(B, 3, 299, 299) float32 -> (B, 2048)."""
    x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
    x = F.max_pool2d(x, 3, 2)
    x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
    for name, block in self.named_children():
      if name.startswith("Mixed"):
        x = block(x)
    return x.mean((2, 3))
