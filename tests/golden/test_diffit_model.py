"""DiffiT against the official code: blocks, forward, gradients, start, file."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases
from golden_numbers import (
  chw_to_hwc,
  fast_compile_jit,
  nhwc,
  relative,
  replay,
)
from tolerances import tolerance

from get_jax.diffusion import Guidance, create_process, create_sampler
from get_jax.interop import name_mapping
from get_jax.interop.official import export_official, load_official
from get_jax.models import create_model
from get_jax.nn import windows
from get_jax.nn.adaln import FinalLayer
from get_jax.nn.position_embedding import sincos_2d
from get_jax.nn.timestep_embedding import timestep_sinusoid
from get_jax.nn.tmsa import (
  TMSA,
  DiffiTBlock,
  relative_position_bias,
  relative_position_index,
)

RULES = tuple(
  name_mapping.NameRule(official, ours)
  for official, ours in {
    "attn.qkv": "attn/qkv",
    "attn.qkv_temb": "attn/time_qkv",
    "attn.proj": "attn/proj",
    "attn.relative_position_bias_table": "attn/position_bias",
    "mlp.fc1": "mlp/fc1",
    "mlp.fc2": "mlp/fc2",
  }.items()
)
# Softmax cancels the time's share of the keys and their bias: these gradients
# are zero but for rounding.
DEAD = ("qkv_temb.weight", "qkv_temb.bias", "qkv.bias")


def check_gradients(ours, theirs, tolerance):
  for key, expected in theirs.items():
    got = ours[key]
    if key.endswith(DEAD):
      third = len(expected) // 3
      keys = slice(third, 2 * third)
      assert np.abs(got[keys]).max() < 1e-6 * np.abs(expected).max() + 1e-9
      got, expected = (np.delete(a, keys, axis=0) for a in (got, expected))
    assert relative(got, expected) < tolerance, key


def block_of(case):
  """Returns the block of a case, its name mapping and its parameters."""
  cfg, tensors = case.meta["cfg"], case.under("param")
  side, width = cfg["window_size"], cfg["hidden_size"]
  block = DiffiTBlock(
    cfg["num_heads"], (side, side), mlp_ratio=cfg["mlp_ratio"]
  )
  shapes = jax.eval_shape(
    block.init,
    jax.random.key(0),
    jnp.zeros((1, side**2, width)),
    jnp.zeros((1, width)),
  )
  mapping = name_mapping.build_mapping(RULES, shapes["params"])
  index = tensors["attn.relative_position_index"]
  np.testing.assert_array_equal(index, relative_position_index((side, side)))
  return block, mapping, name_mapping.params_from_tensors(mapping, tensors)


@cases("diffit/block*.npz")
def test_block(case):
  block, mapping, params = block_of(case)
  x, c = case.arrays["in/x"], case.arrays["in/c"]
  heads, side = block.num_heads, block.window[0]

  @fast_compile_jit
  def run(params, x, c):
    def loss(params, x, c):
      out, kept = block.apply(
        {"params": params},
        x,
        c,
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      return jnp.mean(out**2), (out, kept["intermediates"])

    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(
      params, x, c
    )

  (loss, (out, kept)), (grads, grad_x, grad_c) = run(params, x, c)
  limit = tolerance(case, "diffit/block", "out")
  grad_limit = tolerance(case, "diffit/block", "grad")
  table = params["attn"]["position_bias"]
  attn = kept["attn"]
  projected = [attn[k]["__call__"][0] for k in ("qkv", "time_qkv")]
  qkv = projected[0].reshape(*x.shape[:2], -1) + projected[1][:, None]
  q, k, v = np.moveaxis(qkv.reshape(len(x), side**2, 3, heads, -1), 2, 0)
  expected = case.under("mid") | case.under("out")
  for name, got in {
    "norm1": kept["norm1"]["__call__"][0],
    "q": q.swapaxes(1, 2),
    "k": k.swapaxes(1, 2),
    "v": v.swapaxes(1, 2),
    "relative_position_bias": relative_position_bias(table, (side, side)),
    "attention_probs": attn["probabilities"][0],
    "attention_of_norm1": attn["__call__"][0],
    "block": out,
    "loss": loss,
  }.items():
    assert relative(got, expected[name]) < limit, name
  official = name_mapping.tensors_from_params(mapping, grads)
  check_gradients(official, case.under("grad"), grad_limit)
  assert relative(grad_x, case.arrays["grad_in/x"]) < grad_limit
  assert relative(grad_c, case.arrays["grad_in/c"]) < grad_limit

  attention = fast_compile_jit(TMSA(heads, window=block.window).apply)
  for name, time in {"": c, "_zero_c": 0 * c}.items():
    got = attention({"params": params["attn"]}, x, time)
    assert relative(got, expected[f"attention_of_x{name}"]) < limit


@cases("diffit/small_activations*.npz")
def test_small_activations(case):
  block, _, params = block_of(case)
  given, out = case.under("in"), case.under("out")
  limit = tolerance(case, "diffit/small_activations")
  got, kept = fast_compile_jit(
    lambda x, c: block.apply(
      {"params": params},
      x,
      c,
      capture_intermediates=True,
      mutable=["intermediates"],
    )
  )(given["x"], given["c"])
  assert relative(got, out["block"]) < limit
  for name in ("norm1", "norm2"):
    norm = kept["intermediates"][name]["__call__"][0]
    assert relative(norm, case.arrays[f"mid/{name}"]) < limit
  weight = case.arrays["param/final_layer.linear.weight"].astype(np.float32)
  bias = case.arrays["param/final_layer.linear.bias"].astype(np.float32)
  final = FinalLayer(len(bias), activation=jax.nn.silu)
  linear = {"linear": {"kernel": weight.T, "bias": bias}}
  got = final.apply({"params": linear}, given["final_tokens"])
  assert relative(got, out["final"]) < limit


@cases("diffit/window_block*.npz")
def test_block_in_windows(case):
  block, _, params = block_of(case)
  x, c = nhwc(case.arrays["in/x"]), case.arrays["in/c"]
  side = case.meta["cfg"]["window_size"]
  window, grid = windows.window_and_grid(*x.shape[1:3], side)
  attention = TMSA(block.num_heads, window=block.window)

  @fast_compile_jit
  def run(x, c):
    def loss(x, c):
      tokens = block.apply(
        {"params": params}, windows.window_partition(x, window), c
      )
      out = windows.window_merge(tokens, window, grid)
      return jnp.mean(out**2), out

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, c)

  @fast_compile_jit
  def attend(x, c):
    tokens = attention.apply(
      {"params": params["attn"]}, windows.window_partition(x, window), c
    )
    return windows.window_merge(tokens, window, grid)

  (loss, out), (grad_x, grad_c) = run(x, c)
  limit = tolerance(case, "diffit/block", "out")
  expected = case.under("out")
  assert relative(out, nhwc(expected["block"])) < limit
  assert relative(attend(x, c), nhwc(expected["attention"])) < limit
  assert relative(loss, expected["loss"]) < limit
  limit = tolerance(case, "diffit/block", "grad")
  assert relative(grad_x, nhwc(case.arrays["grad_in/x"])) < limit
  assert relative(grad_c, case.arrays["grad_in/c"]) < limit


@cases("diffit/tables*.npz")
def test_relative_positions(case):
  arrays = case.arrays
  for side in case.meta["windows"]:
    window = (side, side)
    index = relative_position_index(window)
    np.testing.assert_array_equal(
      index, arrays[f"out/relative_position_index/{side}"]
    )
    bias = relative_position_bias(arrays[f"in/table/{side}"], window)
    np.testing.assert_array_equal(bias, arrays[f"out/bias/{side}"])
  for side, facts in case.meta["big"].items():
    index = relative_position_index((int(side), int(side)))
    probe = tuple(arrays[f"in/probe/{side}"].T)
    np.testing.assert_array_equal(index[probe], arrays[f"out/probe/{side}"])
    digest = hashlib.sha256(index.astype("<i4").tobytes()).hexdigest()
    assert digest == facts["sha256_int32_little_endian"]
    assert index.sum() == facts["sum"]
  limit = tolerance(case, "diffit/tables", "pos_embed")
  for name, table in case.under("out/pos_embed").items():
    side, dim = map(int, name.split("_"))
    np.testing.assert_allclose(sincos_2d((side, side), dim), table, atol=limit)


def module(cfg):
  cfg = dict(cfg)
  cfg["null_class"] = cfg.pop("class_dropout_prob", 0.1) > 0
  return create_model("DiffiT", **cfg)


def official_guidance(case, call):
  """The guidance of a call, with the official default arguments.

  The official schedule depends on the size of the input.
  """
  small = case.meta["cfg"]["input_size"] <= 32
  return Guidance(
    call["cfg_scale"],
    channels=3,
    schedule="power_cosine" if small else "constant",
    power=call.get("scale_pow", 4.0),
    period=call.get("diffusion_steps", 1000),
  )


@cases("diffit/forward_*.npz")
def test_forward_and_gradients(case):
  model = module(case.meta["cfg"])
  params = load_official(model, case.under("param"))
  x = nhwc(case.arrays["in/x"])
  t, y = (jnp.asarray(case.arrays[f"in/{k}"]) for k in "ty")

  @fast_compile_jit
  def run(params, x):
    def loss(params, x):
      out, kept = model.apply(
        {"params": params},
        x,
        t,
        y,
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      return jnp.mean(out**2), (out, kept["intermediates"])

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (loss, (out, kept)), (grads, grad_x) = run(params, x)
  limits = {
    name: tolerance(case, "diffit/forward", name)
    for name in ("out", "mid", "grad")
  }
  assert relative(out, nhwc(case.arrays["out/model"])) < limits["out"]
  assert relative(loss, case.arrays["out/loss"]) < limits["out"]

  def seen(name):
    return kept[name]["__call__"][0]

  table = case.arrays["param/y_embedder.embedding_table.weight"]
  drop = case.arrays.get("in/force_drop", np.zeros(len(y)))
  ours = {
    "tokens_in": seen("positions"),
    "t_emb": seen("time_embed"),
    "y_emb": seen("label_embed"),
    "y_emb_forced": np.float32(
      table[np.where(drop == 1, model.num_classes, y)]
      if len(table) > model.num_classes
      else table[y]
    ),
    "c": seen("time_embed") + seen("label_embed"),
    "t_sinusoid": timestep_sinusoid(t, 256),
    "final_tokens": seen("final_layer"),
    **{f"block{i}": seen(f"blocks_{i}") for i in range(model.depth)},
  }
  for name, expected in case.under("mid").items():
    assert relative(ours[name], expected) < limits["mid"], name
  official = export_official(model, grads)
  check_gradients(official, case.under("grad"), limits["grad"])
  expected = nhwc(case.arrays["grad_in/x"])
  assert relative(grad_x, expected) < limits["grad"]


@cases("diffit/guidance_*.npz")
def test_guidance(case):
  model = module(case.meta["cfg"])
  params = load_official(model, case.under("param"))
  limit = tolerance(case, "diffit/guidance", "out")
  weight_limit = tolerance(case, "diffit/guidance", "weight")

  def net(x, t, y):
    return model.apply({"params": params}, x, t, y)

  for i, call in enumerate(case.meta["calls"]):
    given = case.under(f"in/{i}")
    x, y = jnp.asarray(nhwc(given["x"])), jnp.asarray(given["y"])
    t = jnp.asarray(given["t"], jnp.float32)
    expected = nhwc(case.arrays[f"out/{i}/guided"])
    if "cfg_scale" in call:
      half = len(x) // 2
      guidance = official_guidance(case, call)
      x, t, y, expected = x[:half], t[:half], y[:half], expected[:half]
      guided = guidance(net, y, model.num_classes)
      got = fast_compile_jit(guided)(x, t)
      scale = case.arrays[f"out/{i}/effective_scale"]
      np.testing.assert_allclose(
        guidance.weight(t), scale, rtol=weight_limit, atol=weight_limit / 10
      )
    else:
      got = fast_compile_jit(net)(x, t, y)
    assert relative(got, expected) < limit, call


@cases("diffit/tables*.npz")
def test_guidance_schedules(case):
  for i, call in enumerate(case.meta["schedules"]):
    steps = call.get("diffusion_steps", 1000)
    guidance = Guidance(
      call["cfg_scale"],
      schedule="power_cosine",
      power=call.get("scale_pow", 4.0),
      period=steps,
    )
    weight = guidance.weight(jnp.arange(float(steps)))
    expected = case.arrays[f"out/schedule/{i}"]
    limit = tolerance(case, "diffit/tables", "schedule")
    np.testing.assert_allclose(weight, expected, rtol=limit)


@cases("diffit/trajectory_*.npz")
def test_trajectories(case):
  model = module(case.meta["cfg"])
  params = load_official(model, case.under("param"))
  meta, arrays = case.meta, case.arrays
  process = create_process("adm")
  respaced = process.respaced(meta["respacing"])
  times = respaced.tables.timesteps[: meta["only_last_steps"]]
  np.testing.assert_array_equal(times[::-1], arrays["out/model_t"])
  sampler = create_sampler("ddpm", process, num_steps=tuple(times.tolist()))
  guidance = Guidance()
  if meta["guidance"]:
    guidance = official_guidance(case, meta["guidance"])
  noise = replay(arrays["in/z"], arrays["in/noise"])
  shape = chw_to_hwc(arrays["in/z"].shape)

  @fast_compile_jit
  def run():
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, jnp.asarray(arrays["in/y"]), model.num_classes)
    return sampler(guided, noise, shape, trajectory=True)[1]

  states = run()[1:][arrays["out/sample_steps"]]
  limit = tolerance(case, "diffit/trajectory")
  assert relative(states, nhwc(arrays["out/samples"])) < limit


@cases("diffit/init_stats*.npz")
def test_initialization(case):
  model = module(case.meta["cfg"])
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  start = fast_compile_jit(model.init)(jax.random.key(0), *inputs)["params"]
  tensors = export_official(model, start)
  for name, stat in case.meta["stats"].items():
    tensor = tensors[name]
    assert tensor.shape == tuple(stat["shape"]), name
    if name == "pos_embed" or name.endswith("index"):
      assert tensor.mean() == pytest.approx(stat["mean"], rel=1e-5), name
      continue
    error = 6 * stat["std"] / tensor.size**0.5
    assert tensor.std() == pytest.approx(stat["std"], abs=error), name
    assert abs(tensor.mean()) <= error, name
    if stat["std"] * 1.8 > stat["absmax"] > 0:  # uniform
      # The maximum of few uniform numbers varies.
      slack = max(0.02, 10 / tensor.size)
      largest = np.abs(tensor).max()
      assert largest == pytest.approx(stat["absmax"], rel=slack), name
  assert case.arrays["out/output_absmax"] == 0
