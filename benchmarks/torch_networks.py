"""The networks of `networks` in plain PyTorch, with the same weights."""

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import jax
import networks
import numpy as np
import torch
import torch._inductor.config as inductor
from networks import Network, Passes
from timing import number_of_cores, on_cpu
from torch_models import diffit_image, imf, transformers, unet, uvit

from get_jax.interop.official import export_official
from get_jax.nn.patches import as_pair


@dataclasses.dataclass(frozen=True)
class TorchPasses:
  """Passes of a network in PyTorch.

  Attributes:
    functions: a function without arguments by task.
    output: the result of the forward pass, NCHW.
    gradients: the gradients of the parameters, by name.
  """

  functions: dict[str, Callable[[], Any]]
  output: np.ndarray
  gradients: dict[str, np.ndarray]


def create(model: Any) -> torch.nn.Module:
  """Creates the network in PyTorch with the sizes of one of get_jax."""
  side, _ = as_pair(model.input_size)
  m = model
  match type(model).__name__:
    case "DiT":
      return transformers.DiT(
        side, m.patch_size, m.hidden_size, m.depth, m.num_heads, m.num_classes
      )
    case "ViT":
      return transformers.ViT(
        side, m.patch_size, m.hidden_size, m.depth, m.num_heads
      )
    case "GET":
      return transformers.GET(
        side,
        m.hidden_size,
        m.num_heads,
        m.injection_depth,
        m.equilibrium_depth,
        m.equilibrium_mlp_ratio,
      )
    case "UViT":
      return uvit.UViT(side, m.patch_size, m.hidden_size, m.depth, m.num_heads)
    case "IMF":
      return imf.IMF(
        side, m.hidden_size, m.depth, m.head_depth, m.num_heads, m.num_classes
      )
    case "SongUNet":
      return unet.SongUNet(side, m.model_channels, m.channel_mult, m.num_blocks)
    case "ImageDiffiT":
      return diffit_image.ImageDiffiT(side, m.widths, m.depths, m.window)
  raise NotImplementedError(f"{type(model).__name__} in PyTorch")


def state_dict(model: Any, params: Any) -> dict[str, torch.Tensor]:
  """Returns the weights by the names of the network in PyTorch."""
  if type(model).__name__ == "IMF":
    tensors = _with_names_of_flax(params)
  else:
    tensors = export_official(model, params)
  return {
    name: torch.from_numpy(np.array(value))
    for name, value in tensors.items()
    if not name.endswith("resample_filter") and not name.startswith("v_final")
  }


def check_equal_passes(
  network: Network, dtype: str, ours: Passes, torchs: TorchPasses
) -> None:
  """Raises AssertionError unless outputs and gradients agree.

  In bfloat16 only the outputs are compared, because the rounding of gradients
  depends on the order of the sums.
  """
  output = np.moveaxis(ours.output, -1, 1)
  networks.check_equal("outputs", output, torchs.output, dtype)
  if dtype != "float32":
    return
  gradients = state_dict(network.create(dtype), ours.gradients)
  names = sorted(torchs.gradients)
  networks.check_equal(
    "gradients",
    np.concatenate([gradients[name].numpy().ravel() for name in names]),
    np.concatenate([torchs.gradients[name].ravel() for name in names]),
    dtype,
  )


def _with_names_of_flax(params: Any) -> dict[str, np.ndarray]:
  tensors = {}
  for path, value in jax.tree_util.tree_leaves_with_path(params):
    *modules, leaf = (key.key for key in path)
    value = value.T if leaf == "kernel" else value
    leaf = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(
      leaf, leaf
    )
    tensors[".".join([*modules, leaf])] = value
  return tensors


def to_torch(array: np.ndarray) -> torch.Tensor:
  """Converts an array to a tensor, and images from NHWC to NCHW."""
  tensor = torch.from_numpy(np.array(array))
  return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def torch_passes(network: Network, dtype: str, compiled: bool) -> TorchPasses:
  """Returns the passes of a network in PyTorch.

  Args:
    network: the network.
    dtype: compute type; parameters are float32.
    compiled: whether to apply `torch.compile`.
  """
  device = "cpu" if on_cpu() else "cuda"
  if on_cpu():
    torch.set_num_threads(number_of_cores())
    # Code for one number of threads could not be reused for another.
    inductor.cpp.dynamic_threads = True
  model = network.create(dtype)
  twin = create(model)
  weights = state_dict(model, networks.random_params(model))
  twin.load_state_dict(weights)
  twin = twin.to(device)
  inputs = {
    name: to_torch(array).to(device)
    for name, array in networks.random_inputs(model, network.batch).items()
  }
  inputs |= dict(network.options)
  trained = [p for p in twin.parameters() if p.requires_grad]
  average = [p.detach().clone() for p in trained]
  optimizer = torch.optim.AdamW(trained, 1e-4, weight_decay=1e-4, fused=True)
  if compiled:
    torch._dynamo.reset()
    gc.collect()
  call = torch.compile(twin) if compiled else twin

  def run():
    with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
      return call(**inputs)

  def finish():
    if device == "cuda":
      torch.cuda.synchronize()

  def forward():
    with torch.no_grad():
      out = run()
    finish()
    return out

  def backward():
    for parameter in trained:
      parameter.grad = None
    run().float().square().mean().backward()
    finish()

  def step():
    backward()
    optimizer.step()
    with torch.no_grad():
      torch._foreach_lerp_(average, trained, 1e-4)
    finish()

  functions = dict(zip(networks.TASKS, (forward, backward, step), strict=True))
  backward()
  return TorchPasses(
    functions,
    forward().float().cpu().numpy(),
    {
      name: np.array(parameter.grad.cpu())
      for name, parameter in twin.named_parameters()
      if parameter.grad is not None
    },
  )
