"""Diffusion processes, objectives, samplers and guidance, in pure JAX."""

from get_jax.diffusion.consistency import Consistency
from get_jax.diffusion.continuous import VP
from get_jax.diffusion.discrete import DiscreteProcess, StableDiffusion
from get_jax.diffusion.edm import EDM, EDMIDDPM, EDMVE, EDMVP
from get_jax.diffusion.flow_matching import FlowMatching
from get_jax.diffusion.guidance import Guidance
from get_jax.diffusion.linear_path import LinearPath
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.process import Process
from get_jax.diffusion.registry import build
from get_jax.diffusion.samplers import SAMPLERS, create_sampler
from get_jax.diffusion.scheme import Preview

__all__ = [
  "EDM",
  "EDMIDDPM",
  "EDMVE",
  "EDMVP",
  "PROCESSES",
  "SAMPLERS",
  "VP",
  "Consistency",
  "DiscreteProcess",
  "FlowMatching",
  "Guidance",
  "LinearPath",
  "Preview",
  "Process",
  "SampleNoise",
  "StableDiffusion",
  "create_process",
  "create_sampler",
]

PROCESSES = {
  "adm": DiscreteProcess,
  "stable_diffusion": StableDiffusion,
  "vp": VP,
  "edm": EDM,
  "edm_vp": EDMVP,
  "edm_ve": EDMVE,
  "edm_iddpm": EDMIDDPM,
  "consistency": Consistency,
  "mean_flow": LinearPath,
  "flow_matching": FlowMatching,
}


def create_process(name: str, /, **settings) -> Process:
  """Creates a diffusion process.

  Args:
    name: a key of `PROCESSES`.
    **settings: fields of the class of the process.

  Raises:
    UsageError: the name or a setting is unknown; the message contains the
      nearest known one.
  """
  return build("process", PROCESSES, name, **settings)
