"""Samplers by name."""

from get_jax.diffusion.process import Process
from get_jax.diffusion.registry import build
from get_jax.diffusion.samplers.adaptive import DPMSolverAdaptive
from get_jax.diffusion.samplers.base import Sampler as Sampler
from get_jax.diffusion.samplers.ddim import DDIM
from get_jax.diffusion.samplers.ddpm import DDPM
from get_jax.diffusion.samplers.dpm_solver import DPMSolver, DPMSolverPP
from get_jax.diffusion.samplers.euler import EulerMaruyama, ProbabilityFlow
from get_jax.diffusion.samplers.heun import Heun

SAMPLERS = {
  "ddpm": DDPM,
  "ddim": DDIM,
  "euler_maruyama": EulerMaruyama,
  "probability_flow": ProbabilityFlow,
  "dpm_solver": DPMSolver,
  "dpm_solver_adaptive": DPMSolverAdaptive,
  "dpm_solver++": DPMSolverPP,
  "heun": Heun,
}


def create_sampler(name: str, process: Process, /, **settings) -> Sampler:
  """Makes a sampler.

  Args:
    name: a key of `SAMPLERS`.
    process: from `create_process`, the one that the network was trained on.
    **settings: fields of the sampler's class.

  Raises:
    UsageError: on an unknown name or setting, and on a process that the
      sampler cannot run.
  """
  return build("sampler", SAMPLERS, name, process, **settings)
