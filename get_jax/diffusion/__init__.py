"""Processes, objectives, samplers and guidance in pure JAX."""

from get_jax.diffusion.continuous import VP
from get_jax.diffusion.discrete import DiscreteProcess, StableDiffusion
from get_jax.diffusion.edm import EDM, EDMIDDPM, EDMVE, EDMVP
from get_jax.diffusion.guidance import Guidance as Guidance
from get_jax.diffusion.noise import SampleNoise as SampleNoise
from get_jax.diffusion.process import Process
from get_jax.diffusion.registry import build
from get_jax.diffusion.samplers import SAMPLERS as SAMPLERS
from get_jax.diffusion.samplers import create_sampler as create_sampler
from get_jax.diffusion.scheme import Preview as Preview

PROCESSES = {
  "adm": DiscreteProcess,
  "stable_diffusion": StableDiffusion,
  "vp": VP,
  "edm": EDM,
  "edm_vp": EDMVP,
  "edm_ve": EDMVE,
  "edm_iddpm": EDMIDDPM,
}


def create_process(name: str, /, **settings) -> Process:
  """Makes a diffusion process.

  Args:
    name: a key of `PROCESSES`.
    **settings: fields of the process' class.

  Raises:
    UsageError: on an unknown name or setting, with the nearest known one.
  """
  return build("process", PROCESSES, name, **settings)
