"""Builds the generator of a config."""

import dataclasses
from typing import Any

import flax.linen as nn
import ml_collections

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.decoder import build_decoder
from get_jax.builders.model import build_model, build_student, image_shape
from get_jax.builders.process import build_process
from get_jax.builders.requirements import check_network
from get_jax.builders.sections import name_and_fields
from get_jax.diffusion import Guidance, create_sampler
from get_jax.equilibrium import Implicit
from get_jax.equilibrium.settings import SOLVERS, identifying_settings
from get_jax.errors import UsageError
from get_jax.generation.conditioning import Conditioning, Unconditional
from get_jax.generation.generator import Generator
from get_jax.training.workdir import config_to_dict


def build_generator(
  config: ml_collections.ConfigDict,
  iterations: int | None = None,
  conditioning: Conditioning | None = None,
) -> Generator:
  """Builds the generator of an experiment.

  Latents are decoded if the config names the weights of an autoencoder.

  Args:
    config: the experiment.
    iterations: number of equilibrium iterations; None selects
      `config.sampling.iterations`.
    conditioning: conditioning of the samples; None builds that of the config.
  """
  model = build_model(config)
  if conditioning is None:
    conditioning = build_conditioning(config, model)
  if config.task == "distillation":
    generator = _build_one_step(config, model, conditioning, iterations)
  else:
    generator = _build_sampler(config, model, conditioning)
  decoder = build_decoder(config, generator.image_shape[-1])
  return generator.with_decoder(decoder)


def _build_one_step(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  conditioning: Conditioning,
  iterations: int | None,
) -> Generator:
  """Builds a one-step generator, without a decoder."""
  model, solver = _with_solver(config, model)
  student = build_student(config, model)
  num_iterations = iterations or config.sampling.iterations

  def generate(params, noise, y):
    return student(params, noise, y, num_iterations)

  steps = num_iterations if student.has_equilibrium else None
  time = {} if student.time is None else {"time": student.time}
  return Generator(
    generate,
    nfe=1,
    image_shape=image_shape(model),
    conditioning=conditioning,
    sampler="one call",
    steps=steps,
    guidance="none",
    settings={
      "model": config_to_dict(config.model),
      "equilibrium": identifying_settings(config_to_dict(config.equilibrium))
      | solver,
      "iterations": steps,
      "z0": student.z0,
      **time,
    },
  )


def _with_solver(
  config: ml_collections.ConfigDict, model: nn.Module
) -> tuple[nn.Module, dict[str, Any]]:
  """Returns a network with the solver of `config.sampling`, and its settings.

  With a tolerance it has a gradient whose iteration ends when all samples have
  stopped.
  """
  name, tolerance = (
    config.sampling.get(key) for key in ("solver", "tolerance")
  )
  if not name and tolerance is None:
    return model, {}
  solver = SOLVERS[name]() if name else model.solver
  if tolerance is not None:
    solver = dataclasses.replace(solver, tolerance=tolerance, relative=True)
    model = model.clone(gradient=Implicit())
  settings = {"name": type(solver).__name__, "tolerance": solver.tolerance}
  return model.clone(solver=solver), {"sampling_solver": settings}


def _build_sampler(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  conditioning: Conditioning,
) -> Generator:
  """Builds a sampler around a guided denoiser, without a decoder."""
  shape, process = image_shape(model), build_process(config)
  name, fields = name_and_fields(config.sampler)
  sampler = create_sampler(name, process, **fields)
  check_network(
    config.model.name, model, sampler.network_fields, f"sampler {name!r}"
  )
  guidance = Guidance(**config.guidance)
  if guidance.full_scale != 1 and "w" in sampler.network_fields.get(
    "scalars", ()
  ):
    raise UsageError(
      f"guidance.scale is {guidance.scale}, but {config.model.name} takes the "
      "guidance scale as an input; expected guidance.scale=1 and sampler.w"
    )
  null = conditioning.null
  guidance.check(not isinstance(conditioning, Unconditional), null is not None)

  def generate(params, noise, y):
    def net(x, t, y, **scalars):
      return model.apply({"params": params}, x, t, y, **scalars)

    guided = guidance(net, y, null, process.sigma_of)
    return sampler(guided, noise, shape)

  sections = ("model", "process", "sampler", "guidance")
  settings = {section: config_to_dict(config[section]) for section in sections}
  return Generator(
    generate,
    nfe=sampler.evaluations,
    image_shape=shape,
    conditioning=conditioning,
    sampler=name,
    steps=fields.get("num_steps", fields.get("steps")),
    guidance=guidance.describe(),
    settings=settings | conditioning.metadata(),
  )
