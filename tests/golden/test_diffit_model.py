"""DiffiT against the official code: blocks, forward, gradients, start, file."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative, replay

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


@pytest.fixture(scope="module")
def block_case(golden):
  """`block_case(name)`: the case, its block, names and parameters."""

  def load(name):
    data = golden(f"diffit/{name}")
    cfg, tensors = data.meta["cfg"], data.under("param")
    side = cfg["window_size"]
    block = DiffiTBlock(
      cfg["num_heads"], (side, side), mlp_ratio=cfg["mlp_ratio"]
    )
    width = cfg["hidden_size"]
    shapes = jax.eval_shape(
      block.init,
      jax.random.key(0),
      jnp.zeros((1, side**2, width)),
      jnp.zeros((1, width)),
    )
    found = name_mapping.build_mapping(RULES, shapes["params"])
    index = tensors["attn.relative_position_index"]
    np.testing.assert_array_equal(index, relative_position_index((side, side)))
    return data, block, found, name_mapping.params_from_tensors(found, tensors)

  return load


def test_block(block_case):
  data, block, found, params = block_case("block")
  x, c = data.arrays["in/x"], data.arrays["in/c"]
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
  tolerance = data.meta["tolerance"]
  table = params["attn"]["position_bias"]
  attn = kept["attn"]
  projected = [attn[k]["__call__"][0] for k in ("qkv", "time_qkv")]
  qkv = projected[0].reshape(*x.shape[:2], -1) + projected[1][:, None]
  q, k, v = np.moveaxis(qkv.reshape(3, side**2, 3, heads, -1), 2, 0)
  expected = data.under("mid") | data.under("out")
  for name, got in {
    "norm1": kept["norm1"]["__call__"][0],
    # Their queries come scaled.
    "k": k.swapaxes(1, 2),
    "v": v.swapaxes(1, 2),
    "relative_position_bias": relative_position_bias(table, (side, side)),
    "attention_probs": attn["probabilities"][0],
    "attention_of_norm1": attn["__call__"][0],
    "block": out,
    "loss": loss,
  }.items():
    assert relative(got, expected[name]) < tolerance["out"], name
  scale = np.linalg.norm(expected["q"]) / np.linalg.norm(q)
  assert relative(scale * q.swapaxes(1, 2), expected["q"]) < tolerance["out"]
  theirs = data.under("grad")
  check_gradients(
    name_mapping.tensors_from_params(found, grads), theirs, tolerance["grad"]
  )
  assert relative(grad_x, data.arrays["grad_in/x"]) < tolerance["grad"]
  assert relative(grad_c, data.arrays["grad_in/c"]) < tolerance["grad"]

  attention = fast_compile_jit(TMSA(heads, window=block.window).apply)
  for name, time in {"": c, "_zero_c": 0 * c}.items():
    got = attention({"params": params["attn"]}, x, time)
    theirs = expected[f"attention_of_x{name}"]
    assert relative(got, theirs) < tolerance["out"]


def test_small_activations(block_case):
  data, block, _, params = block_case("small_activations")
  given, out = data.under("in"), data.under("out")
  got = fast_compile_jit(block.apply)(
    {"params": params}, given["x"], given["c"]
  )
  assert relative(got, out["block"]) < data.meta["tolerance"]
  weight = data.arrays["param/final_layer.linear.weight"].astype(np.float32)
  bias = data.arrays["param/final_layer.linear.bias"].astype(np.float32)
  final = FinalLayer(len(bias), activation=jax.nn.silu)
  linear = {"linear": {"kernel": weight.T, "bias": bias}}
  got = final.apply({"params": linear}, given["final_tokens"])
  assert relative(got, out["final"]) < data.meta["tolerance"]


def test_block_in_windows(block_case):
  data, block, _, params = block_case("window_block")
  x, c = nhwc(data.arrays["in/x"]), data.arrays["in/c"]
  window, grid = windows.window_and_grid(
    *x.shape[1:3], data.meta["cfg"]["window_size"]
  )

  @fast_compile_jit
  def run(x, c):
    def loss(x, c):
      tokens = block.apply(
        {"params": params}, windows.window_partition(x, window), c
      )
      out = windows.window_merge(tokens, window, grid)
      return jnp.mean(out**2), out

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(x, c)

  (grad_x, grad_c), out = run(x, c)
  tolerance = data.meta["tolerance"]
  assert relative(out, nhwc(data.arrays["out/block"])) < tolerance["out"]
  expected = nhwc(data.arrays["grad_in/x"])
  assert relative(grad_x, expected) < tolerance["grad"]
  assert relative(grad_c, data.arrays["grad_in/c"]) < tolerance["grad"]


def test_relative_positions(golden):
  data = golden("diffit/tables")
  arrays = data.arrays
  for side in data.meta["windows"]:
    window = (side, side)
    index = relative_position_index(window)
    np.testing.assert_array_equal(
      index, arrays[f"out/relative_position_index/{side}"]
    )
    bias = relative_position_bias(arrays[f"in/table/{side}"], window)
    np.testing.assert_array_equal(bias, arrays[f"out/bias/{side}"])
  for side, facts in data.meta["big"].items():
    index = relative_position_index((int(side), int(side)))
    probe = tuple(arrays[f"in/probe/{side}"].T)
    np.testing.assert_array_equal(index[probe], arrays[f"out/probe/{side}"])
    digest = hashlib.sha256(index.astype("<i4").tobytes()).hexdigest()
    assert digest == facts["sha256_int32_little_endian"]
    assert index.sum() == facts["sum"]
  for name, table in data.under("out/pos_embed").items():
    side, dim = map(int, name.split("_"))
    np.testing.assert_allclose(sincos_2d((side, side), dim), table, atol=1e-6)


def module(cfg):
  cfg = dict(cfg)
  cfg["null_class"] = cfg.pop("class_dropout_prob", 0.1) > 0
  return create_model("DiffiT", **cfg)


def case(golden, name):
  data = golden(f"diffit/{name}")
  model = module(data.meta["cfg"])
  return data, model, load_official(model, data.under("param"))


@pytest.mark.parametrize("name", ["forward_a", "forward_b_nosigma"])
def test_forward_and_gradients(golden, name):
  data, model, params = case(golden, name)
  x = nhwc(data.arrays["in/x"])
  t, y = (jnp.asarray(data.arrays[f"in/{k}"]) for k in "ty")

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
  tolerance = data.meta["tolerance"]
  assert relative(out, nhwc(data.arrays["out/model"])) < tolerance["out"]
  assert relative(loss, data.arrays["out/loss"]) < tolerance["out"]

  def seen(name):
    return kept[name]["__call__"][0]

  ours = {
    "tokens_in": seen("positions"),
    "t_emb": seen("time_embed"),
    "y_emb": seen("label_embed"),
    "c": seen("time_embed") + seen("label_embed"),
    "t_sinusoid": timestep_sinusoid(t, 256),
    "final_tokens": seen("final_layer"),
    **{f"block{i}": seen(f"blocks_{i}") for i in range(model.depth)},
  }
  for key, theirs in data.under("mid").items():
    if key != "y_emb_forced":
      assert relative(ours[key], theirs) < tolerance["mid"], key
  official = export_official(model, grads)
  check_gradients(official, data.under("grad"), tolerance["grad"])
  expected = nhwc(data.arrays["grad_in/x"])
  assert relative(grad_x, expected) < tolerance["grad"]


@pytest.mark.parametrize("schedule", ["power_cosine", "constant"])
def test_guidance(golden, schedule):
  data, model, params = case(golden, f"guidance_{schedule}")

  @fast_compile_jit
  def net(x, t, y):
    return model.apply({"params": params}, x, t, y)

  fields = {
    "cfg_scale": "scale",
    "scale_pow": "power",
    "diffusion_steps": "period",
  }
  for i, call in enumerate(data.meta["calls"]):
    given = data.under(f"in/{i}")
    x, t, y = nhwc(given["x"]), jnp.asarray(given["t"]), jnp.asarray(given["y"])
    expected = nhwc(data.arrays[f"out/{i}/guided"])
    if "cfg_scale" in call:
      half = len(x) // 2
      guidance = Guidance(
        channels=3,
        schedule=schedule,
        **{fields[k]: v for k, v in call.items()},
      )
      x, t, y, expected = x[:half], t[:half], y[:half], expected[:half]
      got = guidance(net, y, model.num_classes)(x, t)
      scale = data.arrays[f"out/{i}/effective_scale"]
      np.testing.assert_allclose(
        guidance.weight(t), scale, rtol=1e-5, atol=1e-6
      )
    else:
      got = net(x, t, y)
    assert relative(got, expected) < data.meta["tolerance"]["out"]


def test_guidance_schedules(golden):
  data = golden("diffit/tables")
  for i, call in enumerate(data.meta["schedules"]):
    steps = call.get("diffusion_steps", 1000)
    guidance = Guidance(
      call["cfg_scale"],
      schedule="power_cosine",
      power=call["scale_pow"],
      period=steps,
    )
    weight = guidance.weight(jnp.arange(float(steps)))
    theirs = data.arrays[f"out/schedule/{i}"]
    np.testing.assert_allclose(weight, theirs, rtol=1e-6)


@pytest.mark.parametrize(
  "name", ["guided20", "250", "guided_tail", "unguided10"]
)
def test_trajectories(golden, name):
  data, model, params = case(golden, f"trajectory_{name}")
  meta, arrays = data.meta, data.arrays
  process = create_process("adm")
  respaced = process.respaced(meta["respacing"])
  times = respaced.tables.timesteps[: meta["only_last_steps"]]
  np.testing.assert_array_equal(times[::-1], arrays["out/model_t"])
  sampler = create_sampler("ddpm", process, num_steps=tuple(times.tolist()))
  guidance = Guidance()
  if told := meta["guidance"]:
    guidance = Guidance(
      told["cfg_scale"],
      channels=3,
      schedule="power_cosine",
      power=told["scale_pow"],
      period=told["diffusion_steps"],
    )
  noise = replay(arrays["in/z"], arrays["in/noise"])

  @fast_compile_jit
  def run():
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, jnp.asarray(arrays["in/y"]), model.num_classes)
    shape = nhwc(arrays["in/z"]).shape[1:]
    return sampler(guided, noise, shape, trajectory=True)[1]

  states = run()[1:][arrays["out/sample_steps"]]
  assert relative(states, nhwc(arrays["out/samples"])) < meta["tolerance"]


def test_initialisation(golden):
  data = golden("diffit/init_stats")
  model = module(data.meta["cfg"])
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  start = fast_compile_jit(model.init)(jax.random.key(0), *inputs)["params"]
  tensors = export_official(model, start)
  for name, stat in data.meta["stats"].items():
    tensor = tensors[name]
    assert tensor.shape == tuple(stat["shape"]), name
    if name == "pos_embed" or name.endswith("index"):
      assert tensor.mean() == pytest.approx(stat["mean"], rel=1e-5), name
      continue
    error = 6 * stat["std"] / tensor.size**0.5
    assert tensor.std() == pytest.approx(stat["std"], abs=error), name
    assert abs(tensor.mean()) <= error, name
    if stat["std"] * 1.8 > stat["absmax"] > 0:  # uniform
      assert np.abs(tensor).max() == pytest.approx(stat["absmax"], rel=0.02)
  assert data.arrays["out/output_absmax"] == 0
