"""Images through `Pipeline`: those of --mode=sample, and wrong arguments."""

import re

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

import get_jax
from get_jax import Pipeline
from get_jax.builders.model import build_init, build_model
from get_jax.errors import UsageError
from get_jax.generation.prompts import Prompts
from get_jax.modes import sample
from get_jax.training.checkpoints import Checkpoints
from tests.helpers import tiny_config, tiny_job


def network(config):
  """Parameters with which every input has an effect on the images."""
  params = jax.jit(build_init(build_model(config)))(jax.random.key(0))
  # Some layers start at zero.
  leaves, structure = jax.tree.flatten(params)
  random = np.random.default_rng(1)
  noisy = [leaf + 0.1 * random.normal(size=leaf.shape) for leaf in leaves]
  return jax.tree.map(np.float32, jax.tree.unflatten(structure, noisy))


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
  """A denoiser with a null class, and the samples of its workdir."""
  workdir = tmp_path_factory.mktemp("denoiser")
  config = tiny_config(sampling__count=6, model__null_class=True)
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save_params(network(config))
  sample.run(config, str(workdir))
  with np.load(workdir / "samples" / "samples.npz") as file:
    return Pipeline.load(workdir), file["arr_0"], file["arr_1"]


@pytest.fixture(scope="module")
def student():
  return Pipeline(tiny_job(), network(tiny_job()))


def test_the_images_of_mode_sample(denoiser):
  pipe, images, labels = denoiser
  seed = pipe.config.sampling.seed
  np.testing.assert_array_equal(pipe(count=6, seed=seed), images)
  # Neither the batch nor the origin of the labels matters.
  found = pipe(class_labels=labels[:3], seed=seed, batch_size=2)
  np.testing.assert_array_equal(found, images[:3])
  assert found.dtype == np.uint8


def test_the_arguments_have_an_effect(denoiser, student):
  pipe, *_ = denoiser
  images = pipe(class_labels=[1, 2])
  for changed in (
    dict(seed=1),
    dict(steps=4),
    dict(guidance=4.0),
    dict(class_labels=[3, 2]),
  ):
    other = pipe(**{"class_labels": [1, 2], **changed})
    assert other.shape == images.shape
    assert (other != images).any(), changed
  np.testing.assert_array_equal(pipe(class_labels=[1, 2], guidance=1), images)
  assert (student(count=2, iterations=9) != student(count=2)).any()


def test_programs_are_compiled_once(denoiser):
  pipe, *_ = denoiser
  pipe(count=2, seed=5, steps=2)
  with jax.log_compiles(False), pytest.MonkeyPatch.context() as patch:

    def fail(*_, **__):
      raise AssertionError("compiled again")

    patch.setattr("jax._src.compiler.compile_or_get_cached", fail)
    pipe(class_labels=[4, 5], seed=6, steps=2)


def test_the_grid(denoiser, tmp_path):
  pipe, *_ = denoiser
  images = pipe(class_labels=[1, 2, 3])
  pipe.save_grid(tmp_path / "new" / "out.png", columns=3)
  grid = np.asarray(Image.open(tmp_path / "new" / "out.png").convert("L"))
  # 8 pixels are enlarged to 32, with gaps of 2.
  assert grid.shape == (36, 104)
  np.testing.assert_array_equal(grid[2:34:4, 36:68:4], images[1, ..., 0])


def test_repr_names_network_images_and_sampler(denoiser, student):
  pipe, *_ = denoiser
  count = f"{sum(leaf.size for leaf in jax.tree.leaves(pipe.params)):,}"
  assert re.fullmatch(
    rf"Pipeline\('.*': DiT with {count} parameters, 8x8x1 images, 10 classes, "
    r"heun with 3 steps\)",
    repr(pipe),
  )
  assert repr(student).endswith("one call with 2 iterations)")


def test_wrong_arguments_are_one_sentence(denoiser, student, tmp_path):
  pipe, *_ = denoiser

  def refused(sentence, call, /, **arguments):
    with pytest.raises(UsageError, match=sentence):
      call(**arguments)

  refused("label 11 is out of range", student, class_labels=[11])
  refused("has shape .* dtype float64", pipe, class_labels=[1.5])
  refused("captions are given, but DiT takes class", pipe, captions=["a cat"])
  refused("count is -1; expected an integer of at least 1", pipe, count=-1)
  refused("count is 0", pipe, class_labels=[])
  refused("count is 3 and there are 1", pipe, class_labels=[1], count=3)
  refused("seed is -1; expected an integer from 0", pipe, seed=-1)
  refused("batch_size is 0", pipe, batch_size=0)
  refused("sampler.num_steps is 0", pipe, steps=0)
  refused("unknown sampler 'hein': did you mean 'heun'", pipe, sampler="hein")
  refused("iterations is 3, but DiT has no equ", pipe, iterations=3)
  refused("steps is 3, but GET makes images in one call", student, steps=3)
  refused("sampling.iterations is 0", student, iterations=0)
  empty = Pipeline(student.config, student.params)
  refused("there are no images yet", empty.save_grid, path="a")
  student(count=1)
  refused("cannot be written", student.save_grid, path="/proc/none/out.png")
  refused("has no config.json", Pipeline.load, source=tmp_path)


def test_latents_need_a_decoder():
  config = tiny_config(autoencoder__name="sd-vae", model__in_channels=4)
  with pytest.raises(UsageError, match="no autoencoder is named"):
    Pipeline(config, {})(count=1)


def test_captions_need_an_encoder():
  from configs import uvit_s2_coco

  config = uvit_s2_coco.get_config()
  config.autoencoder.weights = "given"
  config.latents = ml_collections.ConfigDict()
  pipe = Pipeline(config, {})
  with pytest.raises(UsageError, match="class_labels are given"):
    pipe(class_labels=[1])
  with pytest.raises(UsageError, match="captions is a string"):
    pipe(captions="a cat")
  with pytest.raises(UsageError, match="takes captions; expected a list"):
    pipe(count=3)
  with pytest.raises(UsageError, match="no text encoder is named"):
    pipe(captions=["a cat"])


def test_prompts_are_encoded_once():
  encoded = []

  def encode(captions):
    encoded.extend(captions)
    return np.array([[[len(c)]] for c in captions], np.float32)

  prompts = Prompts(encode, "letters", (1, 1))
  assert prompts.null == 0
  ids = prompts.add(["cat", "horse", "cat"])
  assert ids.tolist() == [1, 2, 1]
  assert prompts.add(["horse", "ox"]).tolist() == [2, 3]
  assert prompts.read(ids).ravel().tolist() == [3, 5, 3]
  assert prompts.captions(ids).tolist() == ["cat", "horse", "cat"]
  assert encoded == ["", "cat", "horse", "ox"]
  with pytest.raises(UsageError, match="embeddings of shape .1, 1.; the netw"):
    Prompts(encode, "letters", (2, 1))


def test_the_name_is_public():
  assert get_jax.Pipeline is Pipeline
  assert "Pipeline" in dir(get_jax)
