"""Official files whose network has other sizes than that of the config."""

import jax
import numpy as np
import pytest

from get_jax.interop import export_checkpoint, import_checkpoint_of_any_size
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

BLOCKS = dict(
  patch_size=2, hidden_size=16, num_heads=2, downsample=1, in_channels=4
)
UNET = dict(
  model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(8,)
)
# Fields of the network of the file.
NETWORKS = {
  "DiT": dict(name="DiT", **BLOCKS, image_size=16, depth=2),
  "DiffiT": dict(name="DiffiT", **BLOCKS, image_size=16, depth=1),
  "U-ViT": dict(
    name="U-ViT",
    **BLOCKS,
    image_size=16,
    depth=2,
    num_classes=1000,
    null_class=True,
  ),
  "U-ViT, text": dict(
    name="U-ViT",
    **BLOCKS,
    image_size=16,
    depth=2,
    context_tokens=3,
    context_features=8,
  ),
  "ViT": dict(name="ViT", **BLOCKS, image_size=16, depth=1, num_classes=10),
  "GET": dict(
    name="GET",
    **BLOCKS,
    image_size=16,
    injection_depth=1,
    equilibrium_depth=1,
    num_classes=10,
  ),
  "SongUNet": dict(
    name="SongUNet", image_size=16, **UNET, num_classes=10, augment_dim=9
  ),
  "DhariwalUNet": dict(
    name="DhariwalUNet", image_size=16, **UNET, channels_per_head=8
  ),
}


def random_params(model):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda a: rng.standard_normal(a.shape, np.float32), abstract_params(model)
  )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("image_size", ((8, 16), 32))
def test_the_network_of_the_file_is_found(name, image_size, tmp_path):
  source = create_model(**NETWORKS[name])
  params = random_params(source)
  path = tmp_path / "file.safetensors"
  export_checkpoint(path, source, params)
  classes = {"num_classes": 4} if source.num_classes else {}
  target = create_model(
    **{**NETWORKS[name], "image_size": image_size, **classes}
  )
  found, model = import_checkpoint_of_any_size(path, target)
  assert model == source
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_file_of_another_family_is_refused(tmp_path):
  source = create_model(**NETWORKS["U-ViT"])
  path = tmp_path / "file.safetensors"
  export_checkpoint(path, source, random_params(source))
  target = create_model(**NETWORKS["DiT"])
  with pytest.raises(ValueError, match=r"file\.safetensors: .* is a U-ViT"):
    import_checkpoint_of_any_size(path, target)
