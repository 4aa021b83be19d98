"""GET: the Generative Equilibrium Transformer (Geng et al., 2023).

Noise becomes an image in one call. A stack of injection blocks turns the
noise into shifts of queries, keys and values; a few weight-tied blocks are
then iterated to their fixed point under these shifts, and the fixed point is
decoded. Layout and sizes follow the official code, which made the published
numbers.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.equilibrium import Simple, Solution, Unrolled, fixed_point
from get_jax.equilibrium.gradients import Gradient
from get_jax.equilibrium.solvers import Solver
from get_jax.nn.adaln import FinalLayer
from get_jax.nn.block_stack import apply_blocks, run_blocks, stack_params
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.normalization import WeightNorm
from get_jax.nn.patches import as_pair, patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.sharding import gather
from get_jax.nn.transformer_block import Block

SIZES = {
  "T": dict(hidden_size=256, num_heads=4, equilibrium_mlp_ratio=6.0),
  "M": dict(hidden_size=384, num_heads=6, equilibrium_mlp_ratio=6.0),
  # Table 7 says 6, but its own parameter count and the code say 8.
  "S": dict(hidden_size=512, num_heads=8, equilibrium_mlp_ratio=8.0),
  "B": dict(
    hidden_size=768,
    num_heads=12,
    equilibrium_mlp_ratio=12.0,
    injection_depth=1,
  ),
  "B+": dict(hidden_size=768, num_heads=12, equilibrium_mlp_ratio=8.0),
}
VARIANTS = {
  f"GET-{size}/2": dict(patch_size=2, **fields)
  for size, fields in SIZES.items()
}


class GET(nn.Module):
  """A one-step generator whose layer is the fixed point of its blocks.

  Attributes:
    input_size: height and width of the image; one number if equal.
    patch_size: side of a patch.
    in_channels: channels of noise and image.
    hidden_size: width D of the tokens.
    num_heads: attention heads.
    injection_depth: blocks between the noise and the injection.
    equilibrium_depth: weight-tied blocks in one evaluation of the layer.
    mlp_ratio: of the injection blocks.
    equilibrium_mlp_ratio: of the equilibrium blocks.
    num_classes: classes of the condition; 0 makes the network unconditional.
    weight_norm: whether the kernels of the equilibrium blocks are products of
      a direction and a magnitude (an option of the official code; its
      published networks do without).
    solver: how the fixed point is found; its `max_steps` is the `iterations`
      of a call. The default keeps, sample by sample, the iterate that moved
      least, and freezes what moves less than 1e-3, as the official evaluation.
    gradient: how the fixed point is differentiated.
    dtype: type of the matrix products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block of each stack and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  patch_size: int = 2
  in_channels: int = 3
  hidden_size: int = 768
  num_heads: int = 12
  injection_depth: int = 6
  equilibrium_depth: int = 3
  mlp_ratio: float = 4.0
  equilibrium_mlp_ratio: float = 6.0
  num_classes: int = 0
  weight_norm: bool = False
  solver: Solver = Simple(tolerance=1e-3)
  gradient: Gradient = Unrolled()
  dtype: Any = None
  attention: str = "auto"
  scan: bool = False
  remat: str = "none"

  def setup(self):
    """Names the layers."""
    self.patch_embed = Linear(self.hidden_size, dtype=self.dtype)
    self.positions = PositionTable(self.grid)
    if self.num_classes:
      self.label_embed = LabelEmbed(self.num_classes, 3 * self.hidden_size)
    block = dict(
      num_heads=self.num_heads, attention=self.attention, dtype=self.dtype
    )
    self.blocks = [
      Block(mlp_ratio=self.mlp_ratio, **block)
      for _ in range(self.injection_depth)
    ]
    self.qkv_injection = Linear(
      3 * self.hidden_size * self.equilibrium_depth,
      use_bias=False,
      dtype=self.dtype,
    )
    self.equilibrium_blocks = [
      Block(mlp_ratio=self.equilibrium_mlp_ratio, **block)
      for _ in range(self.equilibrium_depth)
    ]
    if self.weight_norm:
      self.weight_norms = [WeightNorm() for _ in range(self.equilibrium_depth)]
    self.final_layer = FinalLayer(
      self.patch_size**2 * self.in_channels, affine=True
    )

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of tokens."""
    return patch_grid(self.input_size, self.patch_size)

  @property
  def state_shape(self) -> tuple[int, int]:
    """Shape (N, D) of one sample's state."""
    return self.grid[0] * self.grid[1], self.hidden_size

  def __call__(
    self,
    noise: jax.Array,
    y: jax.Array | None = None,
    z0: jax.Array | None = None,
    iterations: int = 6,
    train: bool = False,
  ) -> jax.Array:
    """Generates images.

    Args:
      noise: (B, H, W, C) standard normal.
      y: (B,) labels; None if unconditional.
      z0: (B, N, D) start of the iteration, standard normal in the official
        code; None starts from zeros.
      iterations: evaluations of the equilibrium layer, at least 1.
      train: without effect; every generator takes it.

    Returns:
      (B, H, W, C) float32 images, about -1 to 1, not clipped.

    Raises:
      UsageError: fields that do not fit each other, or labels missing.
    """
    del train
    return self.solve(noise, y, z0, iterations)[0]

  def solve(
    self,
    noise: jax.Array,
    y: jax.Array | None = None,
    z0: jax.Array | None = None,
    iterations: int = 6,
    trace: bool = False,
  ) -> tuple[jax.Array, Solution]:
    """Images, and how their fixed points were reached.

    Args:
      noise: as all but the last argument, see `__call__`.
      y: see there.
      z0: see there.
      iterations: see there.
      trace: whether the solution holds the residuals of all iterations.
    """
    solver = dataclasses.replace(self.solver, max_steps=iterations)
    solution = self._equilibrium(noise, y, z0, solver, trace=trace)
    return self.decode(solution.value), solution

  def outputs(
    self,
    noise: jax.Array,
    y: jax.Array | None = None,
    z0: jax.Array | None = None,
    iterations: int = 6,
  ) -> jax.Array:
    """Images to learn from: one for each iterate that has a gradient.

    An `Unrolled` gradient decodes the plain iterates, whatever their
    residuals: the official training decodes all six. The other gradients
    belong to the solution alone.

    Args:
      noise: as all arguments, see `__call__`.
      y: see there.
      z0: see there.
      iterations: K.

    Returns:
      (K, B, H, W, C) float32, or (1, B, H, W, C).
    """
    if not isinstance(self.gradient, Unrolled):
      return self.solve(noise, y, z0, iterations)[0][None]
    solver = dataclasses.replace(
      self.solver, max_steps=iterations, tolerance=None
    )
    count = self.gradient.steps or iterations
    taps = tuple(range(max(0, iterations - count) + 1, iterations + 1))
    solution = self._equilibrium(noise, y, z0, solver, taps=taps)
    return self.decode(solution.taps)

  def inject(self, noise: jax.Array, y: jax.Array | None = None) -> jax.Array:
    """What noise and class add to the projections of each equilibrium block.

    Returns:
      (equilibrium_depth, B, N, 3D).
    """
    tokens = self.patch_embed(patchify(noise, self.patch_size))
    tokens = self.positions(tokens)
    label = self.label_embed(y)[:, None] if self.num_classes else None
    tokens = apply_blocks(
      self.blocks, tokens, label, scan=self.scan, remat=self.remat
    )
    injections = self.qkv_injection(tokens)
    injections = jnp.stack(
      jnp.split(injections, self.equilibrium_depth, axis=-1)
    )
    return injections if label is None else injections + label

  def decode(self, states: jax.Array) -> jax.Array:
    """(B, N, D) states, or (K, B, N, D), to images (B, H, W, C) alike."""
    several = states.ndim == 4
    # Samples first: they are split over the devices, and stay there.
    states = states.swapaxes(0, 1) if several else states
    flat = states.reshape(-1, *states.shape[-2:])
    images = unpatchify(self.final_layer(flat), self.grid, self.patch_size)
    images = images.reshape(*states.shape[:-2], *images.shape[1:])
    return images.swapaxes(0, 1) if several else images

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    noise = jax.ShapeDtypeStruct(size, jnp.float32)
    y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return noise, (y if self.num_classes else None)

  def _equilibrium(self, noise, y, z0, solver, **report) -> Solution:
    injections = self.inject(noise, y)
    if z0 is None:
      z0 = jnp.zeros((len(noise), *self.state_shape))
    if self.is_initializing():
      apply_blocks(self.equilibrium_blocks, z0, each=injections)
    # Once for all iterations.
    params = [
      gather(block.variables["params"]) for block in self.equilibrium_blocks
    ]
    if self.weight_norm:
      params = [
        norm(own) for norm, own in zip(self.weight_norms, params, strict=True)
      ]
    block = self.equilibrium_blocks[0].clone(parent=None, name=None)

    def layer(params, injections, z):
      return run_blocks(
        block,
        params,
        z,
        each=injections,
        scan=self.scan,
        remat=self.remat,
        gathered=True,
      )

    return fixed_point(
      layer,
      stack_params(params) if self.scan else params,
      injections,
      z0,
      solver=solver,
      gradient=self.gradient,
      **report,
    )
