"""A run of equal blocks: unrolled or scanned, with or without remat.

Parameters are always kept block by block, whatever the options, so that a
checkpoint made with one setting loads under any other. Scanning stacks them
inside the program: one copy of the parameters, against a compile time that
does not grow with depth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.sharding import (
  gather,
  keep_split,
  pin_batch,
  splits,
)

POLICIES = {
  "full": "nothing_saveable",
  "dots": "dots_with_no_batch_dims_saveable",
}


def checkpoint_policy(name: str) -> Callable:
  """A policy of `jax.checkpoint` by name, see `rematerialize`.

  Raises:
    UsageError: unknown policy.
  """
  known = [n for n in dir(jax.checkpoint_policies) if n.endswith("_saveable")]
  policy = POLICIES.get(name, name)
  if policy not in known:
    raise UsageError(
      f"remat is {name!r}; expected one of: "
      f"{', '.join(['none', *POLICIES, *known])}"
    )
  return getattr(jax.checkpoint_policies, policy)


def rematerialize(fn: Callable, policy: str, in_scan: bool = False) -> Callable:
  """`fn`, whose intermediates the backward pass computes again.

  Args:
    fn: a pure function.
    policy: "none" (keep all), "full" (keep the inputs only), "dots" (keep the
      results of matrix products without batch dimensions, the best trade on
      accelerators), or the name of a policy in `jax.checkpoint_policies`.
    in_scan: leaves out the barriers that only an unrolled program needs.

  Raises:
    UsageError: unknown policy.
  """
  if policy == "none":
    return fn
  chosen = checkpoint_policy(policy)
  return jax.checkpoint(fn, policy=chosen, prevent_cse=not in_scan)


def stack_params(params: Sequence[Any]):
  """One tree of arrays with a leading axis from equal trees."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)


def run_blocks(
  block: nn.Module,
  params: Any,
  x: jax.Array,
  *inputs: Any,
  each: Any = None,
  scan: bool = False,
  remat: str = "none",
  collect: bool = False,
  gathered: bool = False,
):
  """`apply_blocks` as a pure function of parameters.

  Args:
    block: one of the equal modules; only its fields matter.
    params: a list of trees; with `scan` their `stack_params`.
    x: the tokens.
    *inputs: see `apply_blocks`, as for the other arguments and the result.
    each: see there.
    scan: see there.
    remat: see there.
    collect: see there.
    gathered: the parameters are `gather`ed already, once for many runs.
  """
  pure = block.clone(parent=None, name=None)
  x = pin_batch(x)
  gathers = splits("fsdp") and not gathered

  def step(params, x, inputs, own):
    if gathers:
      params = gather(params, getattr(pure, "dtype", None))
    return pin_batch(pure.apply({"params": params}, x, *inputs, *own))

  if gathers and remat == "none":
    # For the backward pass the blocks' parameters are gathered once more.
    step = jax.checkpoint(step, policy=keep_split, prevent_cse=not scan)
  step = rematerialize(step, remat, in_scan=scan)
  if not scan:
    states = []
    for i, own in enumerate(params):
      x = step(own, x, inputs, () if each is None else (each[i],))
      states.append(x)
    return (x, states) if collect else x

  def body(x, slices):
    x = step(slices[0], x, inputs, slices[1])
    return x, (x if collect else None)

  if isinstance(each, list):
    each = stack_params(each)
  own = () if each is None else (each,)
  x, states = jax.lax.scan(body, x, (params, own))
  return (x, states) if collect else x


def init_blocks(blocks: Sequence[nn.Module], *args: Any) -> None:
  """Gives bound blocks fresh parameters, in a program the size of one block.

  Args:
    blocks: see `apply_blocks`.
    *args: arguments of the first block.
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
  each: Any = None,
  scan: bool = False,
  remat: str = "none",
  collect: bool = False,
):
  """x = block(x, *inputs) for each block in turn.

  Between blocks the tokens are pinned to the mesh, see `pin_batch`; each block
  gathers its parameters for itself, and does it again in the backward pass
  where that computes the block again.

  Args:
    blocks: modules of equal fields, each with its own name, bound to the
      calling module; they have parameters and no other state.
    x: the tokens.
    *inputs: further arguments, the same for all blocks.
    each: an array with a leading axis over the blocks, or a list; block i
      gets each[i] as its last argument.
    scan: one traced block in a loop instead of a copy for each.
    remat: see `rematerialize`.
    collect: also return the tokens after each block.

  Returns:
    The tokens; with `collect` a pair of them and a sequence with the tokens
    after each block: a list, or with `scan` an array with a leading axis. It
    may be the `each` of another run.
  """
  if blocks and blocks[0].is_initializing():
    init_blocks(blocks, x, *inputs, *(() if each is None else (each[0],)))
    scan = True
  if blocks and (scan or splits("fsdp") or remat != "none"):
    params = [block.variables["params"] for block in blocks]
    return run_blocks(
      blocks[0],
      stack_params(params) if scan else params,
      x,
      *inputs,
      each=each,
      scan=scan,
      remat=remat,
      collect=collect,
    )
  states, x = [], pin_batch(x)
  for i, block in enumerate(blocks):
    x = pin_batch(block(x, *inputs, *(() if each is None else (each[i],))))
    states.append(x)
  return (x, states) if collect else x
