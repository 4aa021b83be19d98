"""Official checkpoints of the KL autoencoder, with three sets of names.

The official names are the current ones of diffusers. Its older names of
attention layers, and the names of latent-diffusion (`autoencoder_kl.pth` and
the single files of Stable Diffusion), are converted to them.
"""

import re
from collections.abc import Iterator
from typing import Any

from get_jax.autoencoder import AutoencoderKL
from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.name_mapping import NameRule

_PREFIXES = ("first_stage_model.", "vae.")
# Current names of the parts of an attention block, by their other names.
_ATTENTION = {
  "norm": "group_norm",
  **dict.fromkeys(("q", "query"), "to_q"),
  **dict.fromkeys(("k", "key"), "to_k"),
  **dict.fromkeys(("v", "value"), "to_v"),
  **dict.fromkeys(("proj_out", "proj_attn"), "to_out.0"),
}


def _half_rules(
  half: str, levels: str, resampler: str, direction: str
) -> Iterator[NameRule]:
  """Yields the rules of one half of the autoencoder.

  Args:
    half: "encoder" or "decoder".
    levels: official name of the list of resolution levels.
    resampler: official name of the resampling layers of a level.
    direction: "down" or "up", the end of a resampling layer's path.
  """
  names = (
    (f"{levels}.{{}}.resnets.{{}}", "level_{}_block_{}"),
    ("mid_block.resnets.{}", "mid_block_{}"),
  )
  for official, path in names:
    official, path = f"{half}.{official}", f"{half}/{path}"
    for part in ("norm1", "conv1", "norm2", "conv2"):
      yield NameRule(f"{official}.{part}", f"{path}/{part}")
    yield NameRule(f"{official}.conv_shortcut", f"{path}/shortcut")
  yield NameRule(
    f"{half}.{levels}.{{}}.{resampler}.0.conv", f"{half}/level_{{}}_{direction}"
  )
  attention = f"{half}.mid_block.attentions.0"
  for part in ("norm", "q", "k", "v"):
    yield NameRule(
      f"{attention}.{_ATTENTION[part]}", f"{half}/mid_attention/{part}"
    )
  yield NameRule(f"{attention}.to_out.0", f"{half}/mid_attention/out")
  yield NameRule(f"{half}.conv_in", f"{half}/conv_in")
  yield NameRule(f"{half}.conv_norm_out", f"{half}/norm_out")
  yield NameRule(f"{half}.conv_out", f"{half}/conv_out")


def _rules(model: AutoencoderKL) -> tuple[NameRule, ...]:
  del model
  return (
    *_half_rules("encoder", "down_blocks", "downsamplers", "down"),
    *_half_rules("decoder", "up_blocks", "upsamplers", "up"),
    NameRule("quant_conv", "quant_conv"),
    NameRule("post_quant_conv", "post_quant_conv"),
  )


def _canonicalize(tensors: Tensors, model: AutoencoderKL) -> Tensors:
  for prefix in _PREFIXES:
    inner = {
      name.removeprefix(prefix): tensor
      for name, tensor in tensors.items()
      if name.startswith(prefix)
    }
    tensors = inner or tensors
  levels = len(model.block_out_channels)
  renamed = {}
  for name, tensor in tensors.items():
    # Training files also hold the discriminator and its losses.
    if name.startswith(("loss.", "model_ema.")):
      continue
    name = _current_name(name, levels)
    if ".attentions." in name and tensor.ndim == 4:
      tensor = tensor[:, :, 0, 0]
    renamed[name] = tensor
  return renamed


def _current_name(name: str, levels: int) -> str:
  """Converts a tensor's name to the current naming of diffusers.

  Args:
    name: the name in the file.
    levels: number of resolution levels.
  """

  def level(match: re.Match[str]) -> str:
    half, direction, number, rest = match.groups()
    if direction == "up":  # latent-diffusion counts from the highest resolution
      number = levels - 1 - int(number)
    rest = re.sub(r"^block\.(\d+)", r"resnets.\1", rest)
    rest = rest.replace("nin_shortcut", "conv_shortcut")
    rest = re.sub(r"^(down|up)sample\.", r"\1samplers.0.", rest)
    return f"{half}.{direction}_blocks.{number}.{rest}"

  def middle(match: re.Match[str]) -> str:
    half, layer, number, rest = match.groups()
    layers = {"block": "resnets", "attn": "attentions"}[layer]
    return f"{half}.mid_block.{layers}.{int(number) - 1}.{rest}"

  def attention(match: re.Match[str]) -> str:
    return match[1] + _ATTENTION.get(match[2], match[2]) + "."

  name = re.sub(r"^(\w+coder)\.(down|up)\.(\d+)\.(.+)$", level, name)
  name = re.sub(r"^(\w+coder)\.mid\.(block|attn)_(\d)\.(.+)$", middle, name)
  name = re.sub(r"^(\w+coder)\.norm_out\.", r"\1.conv_norm_out.", name)
  return re.sub(r"(\.attentions\.\d+\.)(\w+)\.", attention, name)


def _infer_fields(shapes: Shapes, model: AutoencoderKL) -> dict[str, Any]:
  del model
  fields: dict[str, Any] = {
    "use_quant_conv": "quant_conv.weight" in shapes,
    "use_post_quant_conv": "post_quant_conv.weight" in shapes,
  }
  if latent := shapes.get("decoder.conv_in.weight"):
    fields["latent_channels"] = latent[1]
  return fields


FAMILY = Family(
  name="autoencoder",
  signature="decoder.conv_norm_out.weight",
  rules=_rules,
  infer_fields=_infer_fields,
  canonicalize=_canonicalize,
)
