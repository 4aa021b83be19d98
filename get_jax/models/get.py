"""GET: the Generative Equilibrium Transformer (Geng et al., 2023).

Generates an image from noise in one call. A stack of injection blocks maps the
noise to shifts of queries, keys and values. A few weight-tied blocks are then
iterated to their fixed point under these shifts, and the fixed point is
decoded. Layout and sizes follow the official code, which produced the published
numbers.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from get_jax.equilibrium import (
  Simple,
  Solution,
  Unrolled,
  fixed_point,
  solve_in_slots,
)
from get_jax.equilibrium.gradients import Gradient
from get_jax.equilibrium.solvers import Solver
from get_jax.models.base import OneStepGenerator, PatchTransformer
from get_jax.nn.adaln import FinalLayer
from get_jax.nn.attention_maps import COLLECTION, is_capturing
from get_jax.nn.block_stack import apply_blocks, run_blocks, stack_params
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.normalization import WeightNorm
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.sharding import gather_params
from get_jax.nn.transformer_block import Block

SIZES = {
  "T": dict(hidden_size=256, num_heads=4, equilibrium_mlp_ratio=6.0),
  "M": dict(hidden_size=384, num_heads=6, equilibrium_mlp_ratio=6.0),
  # Table 7 states 6, but its parameter count and the code have 8.
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
  f"GET-{size}/2": {"patch_size": 2, **fields} for size, fields in SIZES.items()
}


class GET(PatchTransformer, OneStepGenerator):
  """One-step generator with the fixed point of its blocks as a layer.

  `mlp_ratio` is that of the injection blocks. For the other fields see
  `get_jax.models.base`.

  Attributes:
    injection_depth: Number of blocks between the noise and the injection.
    equilibrium_depth: Number of weight-tied blocks in one evaluation of the
      equilibrium layer.
    equilibrium_mlp_ratio: MLP ratio of the equilibrium blocks.
    weight_norm: Whether the kernels of the equilibrium blocks are products of a
      direction and a magnitude. This is an option of the official code that its
      published networks do not use.
    solver: Solver of the fixed point. Its `max_steps` is replaced by the
      `iterations` of a call. The default returns, per sample, the iterate with
      the smallest residual, and stops the iteration of a sample at a residual
      below 1e-3, as in the official evaluation.
    gradient: Gradient of the fixed point.
  """

  injection_depth: int = 6
  equilibrium_depth: int = 3
  equilibrium_mlp_ratio: float = 6.0
  weight_norm: bool = False
  solver: Solver = Simple(tolerance=1e-3)
  gradient: Gradient = Unrolled()

  def setup(self):
    """Creates the layers."""
    self.patch_embed = Linear(self.hidden_size, dtype=self.dtype)
    self.positions = PositionTable(self.grid)
    if self.num_classes:
      self.label_embed = LabelEmbed(self.num_classes, 3 * self.hidden_size)
    block: dict[str, Any] = dict(
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
    """Returns the rows and columns of tokens."""
    return patch_grid(self.input_size, self.patch_size)

  @property
  def state_shape(self) -> tuple[int, int]:
    """Returns the shape (N, D) of one sample's state."""
    return self.grid[0] * self.grid[1], self.hidden_size

  def __call__(
    self,
    noise: Float[Array, "B H W C"],
    y: Int[Array, " B"] | None = None,
    z0: Float[Array, "B N D"] | None = None,
    iterations: int = 6,
    train: bool = False,
  ) -> Float[Array, "B H W C"]:
    """Generates images.

    Args:
      noise: Standard normal noise.
      y: Labels; None if unconditional.
      z0: Initial state of the iteration, standard normal in the official code;
        None for zeros.
      iterations: Number of evaluations of the equilibrium layer, at least 1.
      train: Unused; every generator accepts it.

    Returns:
      Images in float32, approximately in [-1, 1], not clipped.

    Raises:
      UsageError: Fields do not fit together, or labels are missing.
    """
    del train
    return self.solve(noise, y, z0, iterations)[0]

  def solve(
    self,
    noise: Float[Array, "B H W C"],
    y: Int[Array, " B"] | None = None,
    z0: Float[Array, "B N D"] | None = None,
    iterations: int = 6,
    trace: bool = False,
    slots: int | None = None,
  ) -> tuple[Float[Array, "B H W C"], Solution]:
    """Generates images and returns the solution of the fixed point with them.

    For the other arguments see `__call__`.

    Args:
      noise: Standard normal noise.
      y: Labels.
      z0: Initial state.
      iterations: Number of evaluations of the equilibrium layer.
      trace: Whether the solution contains the residuals of all iterations.
      slots: Number of samples that the equilibrium layer is evaluated on at
        once, see `solve_in_slots`; None for the whole batch. With a tolerance
        this saves evaluations. It runs on one device, and has no gradient and
        no trace.
    """
    solver = dataclasses.replace(self.solver, max_steps=iterations)
    solution = self._equilibrium(noise, y, z0, solver, slots=slots, trace=trace)
    return self.decode(solution.value), solution

  def outputs(
    self,
    noise: Float[Array, "B H W C"],
    y: Int[Array, " B"] | None = None,
    z0: Float[Array, "B N D"] | None = None,
    iterations: int = 6,
  ) -> Float[Array, "K B H W C"]:
    """Generates the images of a training step: one per iterate with a gradient.

    With the gradient `Unrolled` the plain iterates are decoded, whatever their
    residuals; the official training decodes all six. The other gradients are
    gradients of the solution alone, which gives K = 1. For the arguments see
    `__call__`.
    """
    if not isinstance(self.gradient, Unrolled):
      return self.solve(noise, y, z0, iterations)[0][None]
    solver = dataclasses.replace(
      self.solver, max_steps=iterations, tolerance=None
    )
    count = self.gradient.steps or iterations
    taps = tuple(range(max(0, iterations - count) + 1, iterations + 1))
    solution = self._equilibrium(noise, y, z0, solver, taps=taps)
    assert solution.taps is not None
    return self.decode(solution.taps)

  def inject(
    self, noise: Float[Array, "B H W C"], y: Int[Array, " B"] | None = None
  ) -> Float[Array, "blocks B N D3"]:
    """Computes the injections into the projections of the equilibrium blocks.

    Returns:
      One injection per equilibrium block, with D3 = 3D.
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
    if label is None:
      return injections
    return injections.astype(label.dtype) + label[None]

  def decode(self, states: jax.Array) -> jax.Array:
    """Decodes states (B, N, D) or (K, B, N, D) to images (..., H, W, C)."""
    several = states.ndim == 4
    # Samples first: they are sharded over the devices and remain so.
    states = states.swapaxes(0, 1) if several else states
    flat = states.reshape(-1, *states.shape[-2:])
    images = unpatchify(self.final_layer(flat), self.grid, self.patch_size)
    images = images.reshape(*states.shape[:-2], *images.shape[1:])
    return images.swapaxes(0, 1) if several else images

  def _equilibrium(
    self, noise, y, z0, solver, slots=None, **options
  ) -> Solution:
    injections = self.inject(noise, y)
    if z0 is None:
      z0 = jnp.zeros((len(noise), *self.state_shape), jnp.float32)
    if self.is_initializing():
      apply_blocks(self.equilibrium_blocks, z0, per_block=injections)
    # Gathered and normalised once for all iterations.
    params = [
      gather_params(block.variables["params"])
      for block in self.equilibrium_blocks
    ]
    if self.weight_norm:
      params = [
        norm(block_params)
        for norm, block_params in zip(self.weight_norms, params, strict=True)
      ]
    block = self.equilibrium_blocks[0].clone(parent=None, name=None)

    def layer(params, injections, z):
      out, _ = run_blocks(
        block,
        params,
        z,
        per_block=injections,
        scan=self.scan,
        remat=self.remat,
        gathered=True,
      )
      return out

    weights = stack_params(params) if self.scan else params
    if slots is None:
      solution = fixed_point(
        layer,
        weights,
        injections,
        z0,
        solver=solver,
        gradient=self.gradient,
        **options,
      )
    else:
      solution = solve_in_slots(
        lambda params, x, z: layer(params, x.swapaxes(0, 1), z),
        weights,
        injections.swapaxes(0, 1),
        z0,
        solver=solver,
        slots=slots,
      )
    if is_capturing(self):
      self._capture(params, injections, solution.value)
    return solution

  def _capture(self, params, injections, z) -> None:
    """Sows the attention of one evaluation of the equilibrium layer at z."""
    for i, block in enumerate(self.equilibrium_blocks):
      pure = block.clone(parent=None, name=None)
      z, state = pure.apply(
        {"params": params[i]}, z, injections[i], mutable=[COLLECTION]
      )
      for name, tree in state[COLLECTION].items():
        block.put_variable(COLLECTION, name, tree)
