"""EDM's networks, blocks and layers against the official code."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative

from get_jax.interop import name_mapping
from get_jax.interop.families.edm import FAMILIES
from get_jax.interop.official import load_official
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.nn.edm_layers import Conv
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.unet_block import UNetBlock, group_norm

CLASSES = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}


def network(kind, ctor, **patch):
  """Our module of the official constructor's arguments."""
  ctor = dict(ctor)
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


CASES = [
  "songunet_ddpmpp",
  "songunet_ncsnpp",
  "songunet_skip_skip",
  "songunet_quiet",
  "dhariwal",
  "dhariwal_heads_vanish",
  "dhariwal_quiet",
]


@pytest.mark.parametrize("case", CASES)
def test_networks(golden, case):
  data = golden(f"edm/{case}")
  kind = data.meta["class"]
  model = network(kind, data.meta["ctor"], **data.meta["patch"])
  params = load_official(model, data.under("param"))
  given = {k: jnp.asarray(v) for k, v in data.under("in").items()}
  x, weights = nhwc(given["x"]), nhwc(given["cotangent"])
  t = given["noise_labels"]

  @fast_compile_jit
  def run(params, x, y, told, t):
    def loss(params, x):
      out, kept = model.apply(
        {"params": params},
        x,
        t,
        y,
        augment_labels=told,
        capture_intermediates=True,
        mutable=["intermediates"],
      )
      return (out * weights).sum(), (out, kept["intermediates"])

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  labels = given.get("class_labels"), given.get("augment_labels")
  (grads, grad_x), (out, mids) = run(params, x, *labels, t)
  assert relative(out, nhwc(data.arrays["out/y"])) < 2e-5
  for name, expected in data.under("mid").items():
    got = mids[name.replace(".", "_", 1) if "." in name else name]
    got = got["__call__"][0]
    expected = nhwc(expected) if expected.ndim == 4 else expected
    assert relative(got, expected) < 2e-5, name
  grads = official(kind, grads) | {"in.x": np.moveaxis(grad_x, -1, 1)}
  for name, expected in data.under("grad").items():
    assert relative(grads[name], expected) < 1e-4, name
  norms = data.arrays["out/grad_l2"]
  for name, expected in zip(data.meta["param_order"], norms, strict=True):
    got = np.linalg.norm(grads[name])
    assert got == pytest.approx(
      expected, rel=1e-4, abs=float(1e-6 * norms.max())
    )
  y, told = labels
  others = {
    "y_no_augment_labels": (y, None if told is None else 0 * told, t),
    "y_zero_class_labels": (None if y is None else 0 * y, told, t),
    "y_scalar_noise": (y, told, jnp.broadcast_to(t[0], t.shape)),
  }
  for name, arguments in others.items():
    if f"out/{name}" in data.arrays:
      _, (out, _) = run(params, x, *arguments)
      assert relative(out, nhwc(data.arrays[f"out/{name}"])) < 2e-5, name


BLOCKS = ["adm_attn_4heads", "adm_down", "adm_up", "song_attn_1head"]
BLOCKS += ["song_down_f1331", "song_up_f1331"]


@pytest.mark.parametrize("case", BLOCKS)
def test_blocks(golden, case):
  data = golden(f"edm/block_{case}")
  ctor = dict(data.meta["ctor"])
  fields = {k: ctor[k] for k in ("skip_scale", "up", "down") if k in ctor}
  block = UNetBlock(
    ctor["out_channels"],
    data.meta["num_heads"],
    epsilon=ctor.get("eps", 1e-5),
    taps=tuple(ctor.get("resample_filter", (1, 1))),
    resample_proj=ctor.get("resample_proj", False),
    adaptive_scale=ctor.get("adaptive_scale", True),
    **fields,
  )
  given = data.under("in")
  x, weights = nhwc(given["x"]), nhwc(given["cotangent"])
  embedding = jnp.asarray(given["emb"])
  like = jax.eval_shape(block.init, jax.random.key(0), x, embedding)["params"]
  rules = [name_mapping.NameRule(layer, layer) for layer in like]
  params = name_mapping.params_from_tensors(
    name_mapping.build_mapping(rules, like), data.under("param")
  )

  @fast_compile_jit
  def run(params, x, embedding):
    def loss(*inputs):
      out = block.apply({"params": inputs[0]}, *inputs[1:])
      return (out * weights).sum(), out

    grads = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    return grads(params, x, embedding)

  (grads, grad_x, grad_embedding), out = run(params, x, embedding)
  assert relative(out, nhwc(data.arrays["out/y"])) < 2e-5
  got = name_mapping.tensors_from_params(
    name_mapping.build_mapping(rules, grads), grads
  )
  got |= {"in.x": np.moveaxis(grad_x, -1, 1), "in.emb": grad_embedding}
  for name, expected in data.under("grad").items():
    assert relative(got[name], expected) < 1e-4, name


def test_layers(golden):
  data = golden("edm/layers")
  given, out = data.under("in"), data.under("out")
  x = nhwc(given["x_5"])
  stored = data.under("param")

  def of(name):
    kept = {k.removeprefix(f"{name}."): v for k, v in stored.items()}
    return {
      k: jnp.asarray(v, jnp.float32) for k, v in kept.items() if "." not in k
    }

  results = {}

  @fast_compile_jit
  def run():
    for name, ctor in data.meta["convs"].items():
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
      results[name] = layer.apply({"params": params}, x)
    return results

  for name, got in run().items():
    assert relative(got, nhwc(out[name])) < 1e-6, name

  class Norm(nn.Module):
    epsilon: float

    @nn.compact
    def __call__(self, x):
      return group_norm("norm", x, self.epsilon)

  for name, ctor in data.meta["norms"].items():
    x = nhwc(given[f"gn_{ctor['num_channels']}"])
    kept = of(name)
    params = {"norm": {"scale": kept["weight"], "bias": kept["bias"]}}
    got = Norm(ctor.get("eps", 1e-5)).apply({"params": params}, x)
    assert relative(got, nhwc(out[name])) < 1e-5, name

  t = jnp.asarray(given["t"])
  small = np.abs(t) < 2
  fourier = {"params": {"freqs": of("fourier")["freqs"]}}
  for name, got in {
    "pos": noise_sinusoid(t, 16, endpoint=False),
    "pos_endpoint": noise_sinusoid(t, 16, endpoint=True),
    "fourier": FourierEmbed(16).apply(fourier, t),
  }.items():
    # A float32 angle of 1e5 has lost its digits, in the reference as well.
    tolerance = 2e-3 if name == "fourier" else 2e-4
    assert relative(got, out[name]) < tolerance, name
    assert relative(got[small], out[name][small]) < 2e-5, name
