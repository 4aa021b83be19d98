"""Stacks of equal blocks: unrolled or scanned, with optional rematerialisation.

Parameters are always stored per block, whatever the options, so a checkpoint
written with one setting loads under any other. Scanning stacks the parameters
inside the program: it costs one copy of them, and the compile time does not
grow with the depth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.attention_maps import is_capturing
from get_jax.nn.sharding import (
  gather_params,
  is_sharded_over,
  save_all_but_gathered,
  shard_batch,
)

# Short names of policies of `jax.checkpoint_policies`.
POLICY_ALIASES = {
  "full": "nothing_saveable",
  "dots": "dots_with_no_batch_dims_saveable",
}


def checkpoint_policy(name: str) -> Callable[..., Any]:
  """Returns a policy of `jax.checkpoint` by name, see `rematerialize`.

  Raises:
    UsageError: The policy is unknown.
  """
  known = [n for n in dir(jax.checkpoint_policies) if n.endswith("_saveable")]
  policy = POLICY_ALIASES.get(name, name)
  if policy not in known:
    raise UsageError(
      f"remat is {name!r}; expected one of: "
      f"{', '.join(['none', *POLICY_ALIASES, *known])}"
    )
  return getattr(jax.checkpoint_policies, policy)


def rematerialize(
  fn: Callable[..., Any], policy: str, in_scan: bool = False
) -> Callable[..., Any]:
  """Makes the backward pass recompute the intermediates of a function.

  Args:
    fn: A pure function.
    policy: "none" (keep all intermediates), "full" (keep the inputs only),
      "dots" (keep the results of matrix products without batch dimensions; the
      best trade-off on accelerators), or the name of a policy in
      `jax.checkpoint_policies`.
    in_scan: Whether the function is the body of a scan, which does not need the
      barriers of an unrolled program.

  Returns:
    A function with the same values and derivatives.

  Raises:
    UsageError: The policy is unknown.
  """
  if policy == "none":
    return fn
  return jax.checkpoint(
    fn, policy=checkpoint_policy(policy), prevent_cse=not in_scan
  )


def stack_params(params: Sequence[Any]) -> Any:
  """Stacks trees of equal structure along a new leading axis."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)


def run_blocks(
  block: nn.Module,
  params: Any,
  x: jax.Array,
  *inputs: Any,
  per_block: Any = None,
  scan: bool = False,
  remat: str = "none",
  keep_states: bool = False,
  gathered: bool = False,
) -> tuple[jax.Array, Any]:
  """Applies a stack of blocks as a pure function of the parameters.

  Args:
    block: One of the equal modules; only its fields are used.
    params: List of the blocks' parameters; with `scan` their `stack_params`.
    x: Tokens.
    *inputs: See `apply_blocks`.
    per_block: See `apply_blocks`.
    scan: See `apply_blocks`.
    remat: See `apply_blocks`.
    keep_states: Whether to return the tokens after each block.
    gathered: Whether the parameters have already been gathered by
      `gather_params`, once for several calls.

  Returns:
    The tokens, and the tokens after each block as in
    `apply_blocks_with_states`, or None without `keep_states`.
  """
  pure = block.clone(parent=None, name=None)
  x = shard_batch(x)
  gathers = is_sharded_over("fsdp") and not gathered

  def step(params, x, inputs, own_inputs):
    if gathers:
      params = gather_params(params, getattr(pure, "dtype", None))
    out: Any = pure.apply({"params": params}, x, *inputs, *own_inputs)
    return shard_batch(out)

  if gathers and remat == "none":
    # The backward pass gathers the parameters of the blocks again.
    step = jax.checkpoint(
      step, policy=save_all_but_gathered, prevent_cse=not scan
    )
  step = rematerialize(step, remat, in_scan=scan)
  if not scan:
    states = []
    for i, block_params in enumerate(params):
      own_inputs = () if per_block is None else (per_block[i],)
      x = step(block_params, x, inputs, own_inputs)
      states.append(x)
    return x, (states if keep_states else None)

  def body(x, slices):
    block_params, own_inputs = slices
    x = step(block_params, x, inputs, own_inputs)
    return x, (x if keep_states else None)

  if isinstance(per_block, list):
    per_block = stack_params(per_block)
  stacked_inputs = () if per_block is None else (per_block,)
  return jax.lax.scan(body, x, (params, stacked_inputs))


def init_blocks(blocks: Sequence[nn.Module], *args: Any) -> None:
  """Initialises the parameters of bound blocks by one vmapped program.

  The size of the program is that of one block.

  Args:
    blocks: See `apply_blocks`.
    *args: Arguments of the first block.
  """
  pure = blocks[0].clone(parent=None, name=None)
  keys = jnp.stack([block.make_rng("params") for block in blocks])
  stacked = jax.vmap(lambda key: pure.init(key, *args)["params"])(keys)
  for i, block in enumerate(blocks):
    for name, tree in stacked.items():
      block.put_variable(
        "params", name, jax.tree.map(lambda a, i=i: a[i], tree)
      )


def apply_blocks(
  blocks: Sequence[nn.Module],
  x: jax.Array,
  *inputs: Any,
  per_block: Any = None,
  scan: bool = False,
  remat: str = "none",
) -> jax.Array:
  """Computes x = block(x, *inputs) for each block in order.

  Between blocks the tokens are sharded by `shard_batch`. Each block gathers its
  own parameters, and gathers them again in the backward pass if that recomputes
  the block. If their attention is captured, the blocks are called one by one.

  Args:
    blocks: Modules with equal fields and one name each, bound to the calling
      module. They have parameters and no other variables.
    x: Tokens.
    *inputs: Further arguments, the same for all blocks.
    per_block: Array with a leading axis over the blocks, or a list; block i
      gets per_block[i] as its last argument.
    scan: Whether to trace one block in a loop instead of a copy for each.
    remat: Rematerialisation policy, see `rematerialize`.

  Returns:
    The tokens after the last block.
  """
  return _apply(blocks, x, inputs, per_block, scan, remat, False)[0]


def apply_blocks_with_states(
  blocks: Sequence[nn.Module],
  x: jax.Array,
  *inputs: Any,
  per_block: Any = None,
  scan: bool = False,
  remat: str = "none",
) -> tuple[jax.Array, Any]:
  """Applies blocks like `apply_blocks` and returns the intermediate tokens.

  Returns:
    The tokens after the last block, and the tokens after each block: a list, or
    with `scan` an array with a leading axis. The latter may be the `per_block`
    of another stack.
  """
  return _apply(blocks, x, inputs, per_block, scan, remat, True)


def _apply(blocks, x, inputs, per_block, scan, remat, keep_states):
  if blocks and blocks[0].is_initializing():
    first_inputs = () if per_block is None else (per_block[0],)
    init_blocks(blocks, x, *inputs, *first_inputs)
    scan = True
  is_pure = scan or is_sharded_over("fsdp") or remat != "none"
  if blocks and is_pure and not is_capturing(blocks[0]):
    params = [block.variables["params"] for block in blocks]
    return run_blocks(
      blocks[0],
      stack_params(params) if scan else params,
      x,
      *inputs,
      per_block=per_block,
      scan=scan,
      remat=remat,
      keep_states=keep_states,
    )
  states, x = [], shard_batch(x)
  for i, block in enumerate(blocks):
    own_inputs = () if per_block is None else (per_block[i],)
    x = shard_batch(block(x, *inputs, *own_inputs))
    states.append(x)
  return x, states
