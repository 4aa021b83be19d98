"""Measuring a generator as a config asks for it."""

import dataclasses
import pathlib
import time

import jax
import numpy as np

from get_jax.data import Source
from get_jax.errors import UsageError
from get_jax.evaluation import (
  Conventions,
  FeatureExtractor,
  FeatureShards,
  Protocol,
  Reference,
  Result,
  batches,
  cached_reference,
  compute_scores,
  create_extractor,
  extract,
  get_preset,
  least,
  open_images,
  read_reference,
  summarize_images,
  to_uint8,
)
from get_jax.evaluation.scores import NEEDS_ROWS
from get_jax.interop import read_checkpoint
from get_jax.builders.build import build_sampling_mesh, build_source
from get_jax.builders.decoder import check_pixels, is_latent
from get_jax.training.work import divided
from get_jax.builders.generator import Generator, ImageMaker
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import apart, until_stopped
from get_jax.training.rng import purpose_key

READ = 500  # images measured at once
CACHE = "~/.cache/get_jax/references"


@dataclasses.dataclass(frozen=True)
class Ruler:
  """What samples are measured with.

  Attributes:
    extractor: makes features; never substituted.
    reference: the real images.
    scores: names of what is computed.
    conventions: choices inside the scores.
    preset: the paper whose way this is, or None.
    count: samples per measurement.
    repeats: measurements with other seeds, of which the least FID counts.
  """

  extractor: FeatureExtractor
  reference: Reference
  scores: tuple[str, ...]
  conventions: Conventions
  preset: str | None
  count: int
  repeats: int

  @property
  def keep_rows(self) -> bool:
    """Whether a score needs all features at once."""
    return bool(NEEDS_ROWS & set(self.scores))

  def result(self, summary, protocol: Protocol) -> Result:
    """Scores of measured samples with their protocol."""
    scores = compute_scores(
      summary, self.reference.summary, self.scores, self.conventions
    )
    protocol = dataclasses.replace(
      protocol,
      preset=self.preset,
      conventions=dataclasses.asdict(self.conventions),
    )
    return Result(scores, protocol.measured_by(self.extractor, self.reference))


def build_ruler(config) -> Ruler:
  """The ruler of `config.evaluation`; a preset fills what is left empty.

  Raises:
    UsageError: no extractor is named, its weights or the reference are
      missing, or there are no images to measure but latents.
  """
  wanted = config.evaluation
  if not wanted.samples:
    check_pixels(config)
  preset = get_preset(wanted.preset) if wanted.preset else None
  extractor = build_extractor(
    wanted, preset.preprocessing if preset else wanted.preprocessing
  )
  scores = tuple(wanted.scores or (preset.scores if preset else ()))
  if not scores:
    raise UsageError(
      "evaluation.scores is empty and no preset is named; expected some, such "
      "as ('fid',)"
    )
  keep_rows = bool(NEEDS_ROWS & set(scores))
  if wanted.reference:
    reference = read_reference(wanted.reference, extractor, keep_rows)
  else:
    source = _images(config)
    # The cache need not be shared: every process looks into its own.
    with apart():
      reference = cached_reference(
        CACHE,
        source.fingerprint,
        source.fingerprint,
        extractor,
        lambda: until_stopped(real_images(source), "measuring real images"),
        keep_rows,
      )
  return Ruler(
    extractor,
    reference,
    scores,
    conventions_of(config),
    wanted.preset or None,
    wanted.count,
    preset.repeats if preset else 1,
  )


def conventions_of(config) -> Conventions:
  """Those of the preset, or the plain ones."""
  preset = config.evaluation.preset
  return get_preset(preset).conventions if preset else Conventions()


def _images(config) -> Source:
  """The real images that an experiment learns from, latents or not.

  Raises:
    UsageError: it learns from latents and does not say of which images.
  """
  learner = config.teacher if config.task == "distillation" else config
  if not is_latent(learner):
    return build_source(learner)
  if "latents" not in learner:
    raise UsageError(
      "evaluation.reference is empty and the config has no section latents "
      "that says which images were encoded; expected one of them"
    )
  return build_source(learner.latents)


def build_extractor(wanted, preprocessing: str) -> FeatureExtractor:
  """The extractor that the config names.

  Raises:
    UsageError: it names none, or the weights are missing.
  """
  if not wanted.extractor:
    raise UsageError(
      "evaluation.extractor is empty; expected a name such as digits-v1 or "
      "inception"
    )
  options = {}
  if wanted.extractor == "inception":
    options["read"] = read_checkpoint
  if wanted.extractor_path:
    options["path"] = wanted.extractor_path
  if "inception" in wanted.extractor and preprocessing:
    options["preprocessing"] = preprocessing
  return create_extractor(wanted.extractor, **options)


def real_images(source: Source):
  """All images of a source, in batches of uint8."""
  for start in range(0, len(source), READ):
    indices = np.arange(start, min(start + READ, len(source)))
    yield to_uint8(source.read(indices)["image"])


def measure(
  ruler: Ruler,
  config,
  generator: Generator,
  params: dict,
  workdir: pathlib.Path,
  title: str,
) -> Result:
  """Draws samples and measures them; what a crash leaves is taken over.

  Args:
    ruler: what to measure with.
    config: gives seed, batch size and mesh.
    generator: draws the samples.
    params: its parameters.
    workdir: features are kept in its `features`.
    title: shown in the progress bar.
  """
  digest, size = params_digest(params), config.sampling.batch_size
  offset = ruler.conventions.uint8_offset
  results = []
  for repeat in range(ruler.repeats):
    seed = config.evaluation.seed + repeat
    protocol = Protocol(
      samples=ruler.count,
      seed=seed,
      weights=f"ema, digest {digest}",
      sampler=generator.sampler,
      steps=generator.steps,
      evaluations=generator.evaluations,
      guidance=generator.guidance,
      captions=generator.settings.get("captions"),
      decoder=generator.decoder and generator.decoder.name,
    )
    identity = {
      "params": digest,
      "seed": seed,
      "settings": generator.settings,
      "uint8_offset": offset,
      "extractor": ruler.extractor.name,
      "extractor_sha256": ruler.extractor.digest,
    }
    shards = FeatureShards(workdir / "features", identity, ruler.count, size)
    maker = ImageMaker(
      generator, purpose_key(seed, "sample"), size, build_sampling_mesh(config)
    )
    with divided(shards.missing) as mine:
      parts = [shards.indices(shard) for shard in mine]
      drawn = maker.parts(params, parts, description=title)
      classes = generator.condition.num_classes
      for shard, (images, chosen) in zip(mine, drawn, strict=True):
        pixels = batches(to_uint8(images, offset), READ)
        labels = chosen if classes else None
        shards.write(shard, extract(ruler.extractor, pixels), labels)
    summary = shards.summarize(ruler.extractor, ruler.keep_rows)
    results.append(ruler.result(summary, protocol))
  return least(results)


def measure_files(ruler: Ruler, path: str) -> Result:
  """Measures images made elsewhere: an .npz, a zip or a folder."""
  files = open_images(path)
  with apart():
    images = until_stopped(files.batches(READ), f"measuring {files.name}")
    summary = summarize_images(
      ruler.extractor, images, files.labels, ruler.keep_rows
    )
  samples = f"{files.count} images of {files.name}"
  return ruler.result(summary, Protocol(samples=samples))


def seconds_per_1000(config, generator: Generator, params: dict) -> float:
  """Time to draw 1,000 images, compilation aside: the median of 5 batches."""
  size = config.sampling.batch_size
  key = purpose_key(config.evaluation.seed, "sample")
  maker = ImageMaker(generator, key, size, build_sampling_mesh(config))
  params = maker.place(params)
  maker.batch(params, np.arange(size))
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(maker.batch(params, np.arange(size))[0])
    seconds.append(time.perf_counter() - start)
  return float(1000 * np.median(seconds) / size)
