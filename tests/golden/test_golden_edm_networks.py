"""EDM's networks, blocks and layers against the official code."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases
from golden_numbers import fast_compile_jit, nhwc, relative
from tolerances import tolerance

from get_jax.interop import name_mapping
from get_jax.interop.families.edm import FAMILIES
from get_jax.interop.official import load_official
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.nn.edm_layers import Conv
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.unet_block import UNetBlock, group_norm

CLASSES = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}


# Arguments of the official preconditioners, as fields of our processes.
PROCESS_FIELDS = {
  "sigma_data": "sigma_data",
  "beta_d": "beta_d",
  "beta_min": "beta_min",
  "M": "num_timesteps",
  "epsilon_t": "epsilon_t",
  "sigma_min": "sigma_min",
  "sigma_max": "sigma_max",
  "C_1": "c_1",
  "C_2": "c_2",
}


def network(kind, ctor, **patch):
  """Our module of the official constructor's arguments."""
  ctor = {k: v for k, v in ctor.items() if k not in PROCESS_FIELDS}
  fields = {"input_size": ctor.pop("img_resolution"), "augment_dim": 0}
  fields["num_classes"] = ctor.pop("label_dim", 0)
  channels = ctor.pop("img_channels", None) or ctor.pop("in_channels")
  fields["in_channels"] = channels
  fields["learn_sigma"] = ctor.pop("out_channels", channels) > channels
  ctor.pop("model_type", None)
  fields |= {k: tuple(v) if isinstance(v, list) else v for k, v in ctor.items()}
  return CLASSES[kind](**fields, **patch)


def official(kind, tree):
  """Our tree by official names, as numbers to be compared."""
  return name_mapping.tensors_from_params(
    name_mapping.build_mapping(FAMILIES[kind].rules(None), tree), tree
  )


def is_network(case):
  return case.meta.get("kind") == "net"


@cases("edm/*.npz", is_network)
def test_networks(case):
  kind = case.meta["class"]
  model = network(kind, case.meta["ctor"], **case.meta["patch"])
  params = load_official(model, case.under("param"))
  limits = {
    name: tolerance(case, "edm/network", name)
    for name in ("out", "mid", "grad")
  }
  given = {k: jnp.asarray(v) for k, v in case.under("in").items()}
  x, weights = nhwc(given["x"]), nhwc(given["cotangent"])
  t = given["noise_labels"]

  @fast_compile_jit
  def run(params, x, y, augment, t):
    def loss(params, x):
      out, kept = model.apply(
        {"params": params},
        x,
        t,
        y,
        augment_labels=augment,
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      return (out * weights).sum(), (out, kept["intermediates"])

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  y, augment = given.get("class_labels"), given.get("augment_labels")
  (grads, grad_x), (out, mids) = run(params, x, y, augment, t)
  expected_out = case.under("out")
  assert relative(out, nhwc(expected_out["y"])) < limits["out"]
  for name, expected in case.under("mid").items():
    got = mids[name.replace(".", "_", 1) if "." in name else name]
    got = got["__call__"][0]
    expected = nhwc(expected) if expected.ndim == 4 else expected
    assert relative(got, expected) < limits["mid"], name
  grads = official(kind, grads) | {"in.x": np.moveaxis(grad_x, -1, 1)}
  for name, expected in case.under("grad").items():
    assert relative(grads[name], expected) < limits["grad"], name
  norms = expected_out["grad_l2"]
  for name, expected in zip(case.meta["param_order"], norms, strict=True):
    got = np.linalg.norm(grads[name])
    assert got == pytest.approx(
      expected, rel=limits["grad"], abs=float(1e-6 * norms.max())
    )
  others = {
    "y_no_augment_labels": (y, None if augment is None else 0 * augment, t),
    "y_zero_class_labels": (None if y is None else 0 * y, augment, t),
    "y_scalar_noise": (y, augment, jnp.broadcast_to(t[0], t.shape)),
  }
  for name, arguments in others.items():
    if name in expected_out:
      _, (out, _) = run(params, x, *arguments)
      assert relative(out, nhwc(expected_out[name])) < limits["out"], name


@cases("edm/block_*.npz")
def test_blocks(case):
  ctor = dict(case.meta["ctor"])
  fields = {k: ctor[k] for k in ("skip_scale", "up", "down") if k in ctor}
  block = UNetBlock(
    ctor["out_channels"],
    case.meta["num_heads"],
    epsilon=ctor.get("eps", 1e-5),
    taps=tuple(ctor.get("resample_filter", (1, 1))),
    resample_proj=ctor.get("resample_proj", False),
    adaptive_scale=ctor.get("adaptive_scale", True),
    **fields,
  )
  given = case.under("in")
  x, weights = nhwc(given["x"]), nhwc(given["cotangent"])
  embedding = jnp.asarray(given["emb"])
  like = jax.eval_shape(block.init, jax.random.key(0), x, embedding)["params"]
  rules = [name_mapping.NameRule(layer, layer) for layer in like]
  params = name_mapping.params_from_tensors(
    name_mapping.build_mapping(rules, like), case.under("param")
  )

  @fast_compile_jit
  def run(params, x, embedding):
    def loss(*inputs):
      out = block.apply({"params": inputs[0]}, *inputs[1:])
      return (out * weights).sum(), out

    grads = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    return grads(params, x, embedding)

  (grads, grad_x, grad_embedding), out = run(params, x, embedding)
  limit = tolerance(case, "edm/network", "out")
  assert relative(out, nhwc(case.arrays["out/y"])) < limit
  got = name_mapping.tensors_from_params(
    name_mapping.build_mapping(rules, grads), grads
  )
  got |= {"in.x": np.moveaxis(grad_x, -1, 1), "in.emb": grad_embedding}
  for name, expected in case.under("grad").items():
    limit = tolerance(case, "edm/network", "grad")
    assert relative(got[name], expected) < limit, name


@cases("edm/layers*.npz")
def test_layers(case):
  given, out = case.under("in"), case.under("out")
  stored = case.under("param")

  def of(name):
    kept = {
      k.removeprefix(f"{name}."): v
      for k, v in stored.items()
      if k.startswith(f"{name}.")
    }
    return {
      k: jnp.asarray(v, jnp.float32) for k, v in kept.items() if "." not in k
    }

  @fast_compile_jit
  def run():
    results = {}
    for name, ctor in case.meta["convs"].items():
      layer = Conv(
        ctor["out_channels"],
        ctor["kernel"],
        up=ctor.get("up", False),
        down=ctor.get("down", False),
        taps=tuple(ctor.get("resample_filter", (1, 1))),
        fused=ctor.get("fused_resample", False),
        use_bias=ctor.get("bias", True),
      )
      kept = of(name)
      params = {"bias": kept["bias"]} if "bias" in kept else {}
      if "weight" in kept:
        params["kernel"] = kept["weight"].transpose(2, 3, 1, 0)
      x = nhwc(given[f"x_{ctor['in_channels']}"])
      results[name] = layer.apply({"params": params}, x)
    return results

  for name, got in run().items():
    limit = tolerance(case, "edm/layers", "conv")
    assert relative(got, nhwc(out[name])) < limit, name

  class Norm(nn.Module):
    epsilon: float

    @nn.compact
    def __call__(self, x):
      return group_norm("norm", x, self.epsilon)

  for name, ctor in case.meta["norms"].items():
    x = nhwc(given[f"gn_{ctor['num_channels']}"])
    kept = of(name)
    params = {"norm": {"scale": kept["weight"], "bias": kept["bias"]}}
    got = Norm(ctor.get("eps", 1e-5)).apply({"params": params}, x)
    limit = tolerance(case, "edm/layers", "norm")
    assert relative(got, nhwc(out[name])) < limit, name

  t = jnp.asarray(given["t"])
  small = np.abs(given["t"]) < 2
  for name, ctor in case.meta["embs"].items():
    dim = ctor["num_channels"]
    if ctor["class"] == "FourierEmbedding":
      variables = {"params": {"freqs": of(name)["freqs"]}}
      got = FourierEmbed(dim).apply(variables, t)
      limit = tolerance(case, "edm/layers", "fourier")
    else:
      got = noise_sinusoid(t, dim, endpoint=ctor.get("endpoint", False))
      limit = tolerance(case, "edm/layers", "emb")
    assert relative(got, out[name]) < limit, name
    limit = tolerance(case, "edm/layers", "small_time")
    assert relative(got[small], out[name][small]) < limit, name
