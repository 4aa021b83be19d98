"""Builds the generator of a config."""

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.decoder import build_decoder
from get_jax.builders.model import build_model, build_student, image_shape
from get_jax.builders.process import build_process
from get_jax.builders.sections import name_and_fields
from get_jax.diffusion import Guidance, create_sampler
from get_jax.generation.conditioning import Conditioning, Unconditional
from get_jax.generation.generator import Generator
from get_jax.training.workdir import plain


def build_generator(
  config,
  iterations: int | None = None,
  conditioning: Conditioning | None = None,
) -> Generator:
  """The generator of an experiment; latents are decoded if that is possible.

  Args:
    config: the experiment.
    iterations: equilibrium iterations, where they are to differ from
      `config.sampling.iterations`.
    conditioning: what samples show; None makes it from the config.
  """
  undecoded = _build_undecoded(config, iterations, conditioning)
  decoder = build_decoder(config, undecoded.image_shape[-1])
  return undecoded.with_decoder(decoder)


def _build_undecoded(config, iterations, conditioning) -> Generator:
  model = build_model(config)
  shape = image_shape(model)
  conditioning = conditioning or build_conditioning(config, model)
  if config.task == "distillation":
    student = build_student(config, model)
    steps = iterations or config.sampling.iterations

    def generate(params, noise, y):
      return student(params, noise, y, steps)

    if not student.has_equilibrium:
      steps = None
    made = {
      "model": plain(config.model),
      "equilibrium": plain(config.equilibrium),
      "iterations": steps,
      "z0": student.z0,
    }
    return Generator(
      generate, 1, shape, conditioning, "one call", steps, "none", made
    )

  process = build_process(config)
  name, fields = name_and_fields(config.sampler)
  sampler = create_sampler(name, process, **fields)
  guidance = Guidance(**config.guidance)
  null = conditioning.null
  guidance.check(not isinstance(conditioning, Unconditional), null is not None)

  def generate(params, noise, y):
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, y, null, process.sigma_of)
    return sampler(guided, noise, shape)

  sections = ("model", "process", "sampler", "guidance")
  return Generator(
    generate,
    sampler.evaluations,
    shape,
    conditioning,
    name,
    fields.get("num_steps", fields.get("steps")),
    guidance.describe(),
    {section: plain(config[section]) for section in sections}
    | conditioning.facts(),
  )
