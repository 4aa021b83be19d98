"""Official checkpoints of EDM (`ema` of a network snapshot)."""

import re
from typing import Any

import numpy as np

from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.name_mapping import NameRule
from get_jax.models.parameters import abstract_params
from get_jax.models.unet import DhariwalUNet, SongUNet

UNet = SongUNet | DhariwalUNet

_BLOCKS = (
  "enc.{}x{}_down",
  "enc.{}x{}_block{}",
  "dec.{}x{}_in{}",
  "dec.{}x{}_up",
  "dec.{}x{}_block{}",
)
_LAYERS = (
  "norm0",
  "conv0",
  "affine",
  "norm1",
  "conv1",
  "skip",
  "norm2",
  "qkv",
  "time_qkv",
  "position_bias",
  "proj",
)
_OTHERS = (
  "map_noise.freqs",
  "map_label",
  "map_augment",
  "map_layer{}",
  "enc.{}x{}_conv",
  "enc.{}x{}_aux_skip",
  "enc.{}x{}_aux_residual",
  "dec.{}x{}_aux_norm",
  "dec.{}x{}_aux_conv",
  "out_norm",
  "out_conv",
)


def _rules(model: UNet) -> tuple[NameRule, ...]:
  del model
  blocks = (f"{block}.{layer}" for block in _BLOCKS for layer in _LAYERS)
  return tuple(NameRule(name, _path(name)) for name in (*_OTHERS, *blocks))


def _path(official: str) -> str:
  """Converts enc.{}x{}_down.conv0 to enc_{}x{}_down/conv0."""
  return re.sub("^(enc|dec)[.]", r"\1_", official).replace(".", "/")


def _canonicalize(tensors: Tensors, model: UNet) -> Tensors:
  """Removes the preconditioner's prefix and iDDPM's noise levels `u`."""
  del model
  tensors.pop("u", None)
  if tensors and all(name.startswith("model.") for name in tensors):
    return {name.removeprefix("model."): v for name, v in tensors.items()}
  return tensors


def _infer_fields(shapes: Shapes, model: UNet) -> dict[str, Any]:
  first = [n for n in shapes if re.fullmatch(r"enc[.]\d+x\d+_conv[.]weight", n)]
  embedding = shapes.get("map_layer0.weight")
  if not first or not embedding:
    return {}
  features, channels, *_ = shapes[first[0]]
  is_song = isinstance(model, SongUNet)
  base = features if is_song else embedding[1]
  size = first[0].split(".")[1].removesuffix("_conv")
  height, width = map(int, size.split("x"))
  levels = _heights(shapes, "block0[.]conv1")
  conv1_names = rf"enc[.]{size}_block\d+[.]conv1[.]weight"
  fields: dict[str, Any] = {
    "input_size": height if height == width else (height, width),
    "in_channels": channels,
    "model_channels": base,
    "channel_mult": tuple(shapes[name][0] // base for name in levels.values()),
    "channel_mult_emb": embedding[0] // base,
    "num_blocks": sum(bool(re.fullmatch(conv1_names, n)) for n in shapes),
    "attn_resolutions": tuple(_heights(shapes, "block0[.]qkv")),
    "num_classes": shapes.get("map_label.weight", (0, 0))[1],
    "augment_dim": shapes.get("map_augment.weight", (0, 0))[1],
  }
  if is_song:
    fourier = "map_noise.freqs" in shapes
    fields["embedding_type"] = "fourier" if fourier else "positional"
    fields["channel_mult_noise"] = embedding[1] // base
    fields["encoder_type"] = "standard"
    for kind in ("skip", "residual"):
      if any(f"_aux_{kind}." in name for name in shapes):
        fields["encoder_type"] = kind
    taps = [v[-1] for n, v in shapes.items() if n.endswith("resample_filter")]
    if taps:
      fields["resample_filter"] = {4: (1, 3, 3, 1)}.get(taps[0], (1, 1))
  return fields


def _heights(shapes: Shapes, module: str) -> dict[int, str]:
  """Returns encoder resolutions that have a module, with its weight's name.

  Args:
    shapes: shapes in the file, by name.
    module: regular expression for the rest of the module's name.

  Returns:
    Weight names by height, the largest height first.
  """
  pattern = rf"enc[.](\d+)x\d+_{module}[.]weight"
  names = {}
  for name in shapes:
    if match := re.fullmatch(pattern, name):
      names[int(match.group(1))] = name
  return dict(sorted(names.items(), reverse=True))


def _constants(model: UNet) -> Tensors:
  """Returns the resampling filters, which official files hold per layer."""
  encoder = getattr(model, "encoder_type", "standard")
  decoder = getattr(model, "decoder_type", "standard")
  taps = np.asarray(getattr(model, "resample_filter", (1, 1)), np.float64)
  kernel = np.outer(taps, taps) / taps.sum() ** 2
  kernel = kernel[None, None].astype(np.float32)
  names = []
  modules = abstract_params(model)
  for module in sorted(modules):
    half, _, rest = module.partition("_")
    size, _, kind = rest.partition("_")
    if kind in ("down", "up"):
      names += [f"{half}.{rest}.conv0", f"{half}.{rest}.skip"]
    if kind == "down" and encoder != "standard":
      aux = "aux_down" if encoder == "skip" else "aux_residual"
      names.append(f"enc.{size}_{aux}")
    if kind == "up" and decoder == "skip":
      names.append(f"dec.{size}_aux_up")
  return {f"{name}.resample_filter": kernel for name in names}


def _family(name: str, signature: str) -> Family[UNet]:
  return Family(
    name, signature, _rules, _infer_fields, _canonicalize, _constants
  )


# Released SongUNets are conditioned on augmentation; only DhariwalUNet has a
# norm of this name before its last layer.
FAMILIES = {
  "SongUNet": _family("SongUNet", "map_augment.weight"),
  "DhariwalUNet": _family("DhariwalUNet", "out_norm.weight"),
}
