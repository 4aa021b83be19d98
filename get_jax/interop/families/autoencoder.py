"""Three namings of the KL-autoencoder's files, and folders with a config.

Official here are the names of diffusers; `translate` brings its older names of
attention and those of latent-diffusion (`autoencoder_kl.pth`, and the single
files of Stable Diffusion) into them.
"""

import re
from typing import Any

from get_jax.autoencoder import AutoencoderKL
from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.names import Rule

_PREFIXES = ("first_stage_model.", "vae.")
# Every naming's word for the parts of a block of attention.
_ATTENTION = {
  "norm": "group_norm",
  **dict.fromkeys(("q", "query"), "to_q"),
  **dict.fromkeys(("k", "key"), "to_k"),
  **dict.fromkeys(("v", "value"), "to_v"),
  **dict.fromkeys(("proj_out", "proj_attn"), "to_out.0"),
}


def _half(official: str, ours: str, levels: str, resample: str, way: str):
  names = (
    (f"{levels}.{{}}.resnets.{{}}", "level_{}_block_{}"),
    ("mid_block.resnets.{}", "mid_block_{}"),
  )
  for theirs, mine in names:
    prefix = f"{official}.{theirs}", f"{ours}/{mine}"
    for part in ("norm1", "conv1", "norm2", "conv2"):
      yield Rule(f"{prefix[0]}.{part}", f"{prefix[1]}/{part}")
    yield Rule(f"{prefix[0]}.conv_shortcut", f"{prefix[1]}/shortcut")
  yield Rule(
    f"{official}.{levels}.{{}}.{resample}.0.conv", f"{ours}/level_{{}}_{way}"
  )
  attention = f"{official}.mid_block.attentions.0"
  for mine in ("norm", "q", "k", "v"):
    yield Rule(
      f"{attention}.{_ATTENTION[mine]}", f"{ours}/mid_attention/{mine}"
    )
  yield Rule(f"{attention}.to_out.0", f"{ours}/mid_attention/out")
  yield Rule(f"{official}.conv_in", f"{ours}/conv_in")
  yield Rule(f"{official}.conv_norm_out", f"{ours}/norm_out")
  yield Rule(f"{official}.conv_out", f"{ours}/conv_out")


def _rules(model: AutoencoderKL) -> tuple[Rule, ...]:
  del model
  return (
    *_half("encoder", "encoder", "down_blocks", "downsamplers", "down"),
    *_half("decoder", "decoder", "up_blocks", "upsamplers", "up"),
    Rule("quant_conv", "quant_conv"),
    Rule("post_quant_conv", "post_quant_conv"),
  )


def _translate(tensors: Tensors, model: AutoencoderKL) -> Tensors:
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
    # The discriminator and its losses, in files of training.
    if name.startswith(("loss.", "model_ema.")):
      continue
    name = _modern(name, levels)
    if ".attentions." in name and tensor.ndim == 4:
      tensor = tensor[:, :, 0, 0]
    renamed[name] = tensor
  return renamed


def _modern(name: str, levels: int) -> str:
  """A tensor's name in the current naming of diffusers."""

  def level(found):
    half, way, number, rest = found.groups()
    if way == "up":  # counted from the finest
      number = levels - 1 - int(number)
    rest = re.sub(r"^block\.(\d+)", r"resnets.\1", rest)
    rest = rest.replace("nin_shortcut", "conv_shortcut")
    rest = re.sub(r"^(down|up)sample\.", r"\1samplers.0.", rest)
    return f"{half}.{way}_blocks.{number}.{rest}"

  def middle(found):
    half, kind, number, rest = found.groups()
    kind = {"block": "resnets", "attn": "attentions"}[kind]
    return f"{half}.mid_block.{kind}.{int(number) - 1}.{rest}"

  def attention(found):
    return found[1] + _ATTENTION.get(found[2], found[2]) + "."

  name = re.sub(r"^(\w+coder)\.(down|up)\.(\d+)\.(.+)$", level, name)
  name = re.sub(r"^(\w+coder)\.mid\.(block|attn)_(\d)\.(.+)$", middle, name)
  name = re.sub(r"^(\w+coder)\.norm_out\.", r"\1.conv_norm_out.", name)
  return re.sub(r"(\.attentions\.\d+\.)(\w+)\.", attention, name)


def _fields(shapes: Shapes, model: AutoencoderKL) -> dict[str, Any]:
  fields = {
    "use_quant_conv": "quant_conv.weight" in shapes,
    "use_post_quant_conv": "post_quant_conv.weight" in shapes,
  }
  if latent := shapes.get("decoder.conv_in.weight"):
    fields["latent_channels"] = latent[1]
  del model
  return fields


FAMILY = Family(
  name="autoencoder",
  telltale="decoder.conv_norm_out.weight",
  rules=_rules,
  fields=_fields,
  translate=_translate,
)
