"""GET: initial states, iterations, gradients and shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import Anderson, Implicit, Phantom, Simple, Unrolled
from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params, init_params

TINY = dict(
  image_size=(8, 4),
  in_channels=1,
  hidden_size=16,
  num_heads=2,
  injection_depth=1,
  equilibrium_depth=2,
  num_classes=3,
)


def tiny(**fields):
  return create_model("GET", **{**TINY, **fields})


@pytest.fixture(scope="module")
def setting(random_params):
  """A model, its parameters, noise, labels and a start."""
  model = tiny()
  keys = jax.random.split(jax.random.key(0))
  noise = jax.random.normal(keys[0], (2, 8, 4, 1))
  z0 = jax.random.normal(keys[1], (2, *model.state_shape))
  return model, random_params(model), noise, jnp.array([0, 2]), z0


@pytest.fixture(scope="module")
def generate(setting, fast_compile_jit):
  model, params, noise, _, _ = setting

  @functools.partial(fast_compile_jit, static_argnums=2)
  def call(y, z0, iterations):
    return model.apply({"params": params}, noise, y, z0, iterations)

  return call


def test_state_has_a_token_for_each_patch(setting):
  model, *_ = setting
  assert model.input_size == (8, 4)
  assert model.state_shape == (8, 16)


def test_the_default_initial_state_is_zero(setting, generate):
  _, _, _, y, z0 = setting
  out = generate(y, None, 6)
  assert out.shape == (2, 8, 4, 1) and out.dtype == jnp.float32
  np.testing.assert_allclose(out, generate(y, jnp.zeros_like(z0), 6), atol=1e-6)
  assert np.abs(out - generate(y, z0, 6)).max() > 1e-3


def test_a_label_changes_its_sample_only(setting, generate):
  _, _, _, y, z0 = setting
  out, other = generate(y, z0, 6), generate(jnp.array([1, 2]), z0, 6)
  np.testing.assert_array_equal(out[1], other[1])
  assert np.abs(out[0] - other[0]).max() > 1e-3


def test_outputs_are_the_plain_iterates(setting, fast_compile_jit):
  model, params, noise, y, z0 = setting

  @fast_compile_jit
  def run(params):
    variables = {"params": params}
    outputs = model.apply(variables, noise, y, z0, 3, method="outputs")
    _, solution = model.apply(
      variables, noise, y, z0, 3, trace=True, method="solve"
    )
    return outputs, solution

  outputs, solution = run(params)
  assert outputs.shape == (3, 2, 8, 4, 1)
  assert solution.trace.shape == (3, 2)
  assert np.all(solution.residual == solution.trace.min(axis=0))
  last = tiny(gradient=Unrolled(steps=1))
  out = fast_compile_jit(
    lambda p: last.apply({"params": p}, noise, y, z0, 3, method="outputs")
  )(params)
  np.testing.assert_allclose(out, outputs[-1:], atol=1e-6)


@pytest.mark.parametrize("gradient", [Implicit(), Phantom(steps=2)])
def test_other_gradients_use_the_solution(setting, gradient):
  _, params, noise, y, z0 = setting
  model = tiny(gradient=gradient)

  def loss(params):
    variables = {"params": params}
    outputs = model.apply(variables, noise, y, z0, method="outputs")
    assert outputs.shape == (1, 2, 8, 4, 1)
    return jnp.mean(outputs**2)

  grads = jax.eval_shape(jax.grad(loss), params)
  assert jax.tree.structure(grads) == jax.tree.structure(params)


def test_fewer_iterations_than_the_window_of_the_solver(
  setting, fast_compile_jit
):
  model, params, noise, y, z0 = setting
  images = []
  for window in (2, 5):
    accelerated = model.clone(solver=Anderson(window=window))
    call = functools.partial(accelerated.apply, iterations=2)
    images.append(fast_compile_jit(call)({"params": params}, noise, y, z0))
  np.testing.assert_array_equal(*images)


def test_missing_labels_are_an_error():
  with pytest.raises(UsageError, match="num_classes=3 but got no labels"):
    model = tiny()
    jax.eval_shape(
      lambda p: model.apply({"params": p}, jnp.zeros((1, 8, 4, 1))),
      abstract_params(model),
    )


def test_weight_norm_is_neutral_at_first(setting, generate, fast_compile_jit):
  _, params, noise, y, z0 = setting
  model = tiny(weight_norm=True)
  added = {
    f"weight_norms_{i}": {
      f"magnitude:{layer}/kernel": np.linalg.norm(
        functools.reduce(dict.get, layer.split("/"), block)["kernel"], axis=0
      )
      for layer in ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2")
    }
    for i in range(model.equilibrium_depth)
    for block in [params[f"equilibrium_blocks_{i}"]]
  }
  params = {**params, **added}
  shapes = jax.tree.map(jnp.shape, params)
  assert shapes == jax.tree.map(jnp.shape, abstract_params(model))
  out = fast_compile_jit(lambda p: model.apply({"params": p}, noise, y, z0))(
    params
  )
  np.testing.assert_allclose(out, generate(y, z0, 6), atol=1e-5)


def test_initialisation():
  params = init_params(tiny(hidden_size=32), jax.random.key(0))
  # Xavier-uniform on the fused shapes: sqrt(6 / (fan in + fan out)).
  for path, fans in {
    "patch_embed": 2 * 2 * 1 + 32,
    "qkv_injection": 32 + 3 * 32 * 2,
    "equilibrium_blocks_1/attn/qkv": 32 + 3 * 32,
    "equilibrium_blocks_0/mlp/fc1": 32 + 6 * 32,
  }.items():
    kernel = functools.reduce(dict.get, path.split("/"), params)["kernel"]
    bound = np.sqrt(6 / fans)
    assert 0.9 * bound < np.abs(kernel).max() <= bound
  first, second = (
    params[f"equilibrium_blocks_{i}"]["attn"]["proj"]["kernel"] for i in (0, 1)
  )
  assert np.abs(first - second).max() > 0.01
  assert not np.any(params["final_layer"]["linear"]["kernel"])
  table = params["label_embed"]["table"]["embedding"]
  assert table.std() == pytest.approx(0.02, rel=0.2)


def test_slots_generate_the_same_images(setting, fast_compile_jit):
  model, params, noise, y, z0 = setting
  noise, z0 = (jnp.concatenate([a, -a, 2 * a]) for a in (noise, z0))

  @functools.partial(fast_compile_jit, static_argnums=(0, 1))
  def solve(tolerance, slots):
    solver = Simple(tolerance=tolerance, relative=True)
    return model.clone(solver=solver).apply(
      {"params": params}, noise, jnp.tile(y, 3), z0, 20,
      trace=slots is None, slots=slots, method="solve",
    )  # fmt: skip

  # With random parameters no residual is small: some samples reach this one.
  _, untiring = solve(0.0, None)
  tolerance = float(np.median(untiring.relative_residual))
  (expected, whole), (images, solution) = (
    solve(tolerance, None),
    solve(tolerance, 2),
  )
  assert len(set(whole.steps.tolist())) > 1
  np.testing.assert_array_equal(solution.steps, whole.steps)
  np.testing.assert_allclose(images, expected, atol=1e-5)
