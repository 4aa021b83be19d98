"""Samplers, and a constructor by name."""

from get_jax.diffusion.process import Process
from get_jax.diffusion.registry import build
from get_jax.diffusion.samplers.adaptive import DPMSolverAdaptive
from get_jax.diffusion.samplers.base import Sampler
from get_jax.diffusion.samplers.consistency import ConsistencySampler
from get_jax.diffusion.samplers.ddim import DDIM
from get_jax.diffusion.samplers.ddpm import DDPM
from get_jax.diffusion.samplers.dpm_solver import DPMSolver, DPMSolverPP
from get_jax.diffusion.samplers.euler import EulerMaruyama, ProbabilityFlow
from get_jax.diffusion.samplers.euler_grid import EulerGrid
from get_jax.diffusion.samplers.flow import FlowODE, FlowSDE
from get_jax.diffusion.samplers.heun import Heun
from get_jax.diffusion.samplers.mean_flow import (
  ImprovedMeanFlowSampler,
  MeanFlowSampler,
)

__all__ = [
  "DDIM",
  "DDPM",
  "SAMPLERS",
  "ConsistencySampler",
  "DPMSolver",
  "DPMSolverAdaptive",
  "DPMSolverPP",
  "EulerGrid",
  "EulerMaruyama",
  "FlowODE",
  "FlowSDE",
  "Heun",
  "ImprovedMeanFlowSampler",
  "MeanFlowSampler",
  "ProbabilityFlow",
  "Sampler",
  "create_sampler",
]

SAMPLERS = {
  "ddpm": DDPM,
  "ddim": DDIM,
  "euler_maruyama": EulerMaruyama,
  "probability_flow": ProbabilityFlow,
  "dpm_solver": DPMSolver,
  "dpm_solver_adaptive": DPMSolverAdaptive,
  "dpm_solver++": DPMSolverPP,
  "heun": Heun,
  "flow_ode": FlowODE,
  "flow_sde": FlowSDE,
  "consistency": ConsistencySampler,
  "euler_grid": EulerGrid,
  "mean_flow": MeanFlowSampler,
  "improved_mean_flow": ImprovedMeanFlowSampler,
}


def create_sampler(name: str, process: Process, /, **settings) -> Sampler:
  """Creates a sampler.

  Args:
    name: a key of `SAMPLERS`.
    process: the process with which the network was trained, from
      `create_process`.
    **settings: fields of the class of the sampler.

  Raises:
    UsageError: the name or a setting is unknown, or the sampler does not
      support the process.
  """
  return build("sampler", SAMPLERS, name, process, **settings)
