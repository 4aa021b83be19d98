"""Every published network has an experiment with the published settings."""

import importlib
import pathlib

import pytest

from get_jax.models.registry import names

ROOT = pathlib.Path(__file__).parents[2]
# Variants in DiffiT's text that its results do not come from, and sizes of
# MeanFlow's DiT and of the ViT baseline without published results.
WITHOUT_RESULTS = {
  "DiffiT-256-depth30", "DiffiT-512-depth30", "DiffiT-CIFAR-10-I.1",
  "DiffiT-FFHQ-64-I.1", "MF-S/2", "MF-S/4", "MF-S/8", "MF-B/8", "MF-M/4",
  "MF-M/8", "MF-L/4", "MF-L/8", "MF-XL/4", "MF-XL/8", "ViT-S/2", "ViT-S/4",
  "ViT-S/8", "ViT-B/4", "ViT-B/8", "ViT-L/4", "ViT-L/8", "ViT-XL/2", "ViT-XL/4",
  "ViT-XL/8",
}  # fmt: skip
# Batch size, steps and learning rate.
RECIPES = {
  "dit_s8": (256, 400_000, 1e-4),
  "dit_xl2": (256, 7_000_000, 1e-4),
  "dit_xl2_512": (256, 3_000_000, 1e-4),
  "uvit_s2_cifar10": (128, 500_000, 2e-4),
  "uvit_s4_celeba64": (128, 500_000, 2e-4),
  "uvit_m4_imagenet64": (1024, 300_000, 3e-4),
  "uvit_l4_imagenet64": (1024, 300_000, 3e-4),
  "uvit_l2_imagenet256": (1024, 300_000, 2e-4),
  "uvit_h2_imagenet256": (1024, 500_000, 2e-4),
  "uvit_l4_imagenet512": (1024, 500_000, 2e-4),
  "uvit_h4_imagenet512": (1024, 500_000, 2e-4),
  "uvit_s2_coco": (256, 1_000_000, 2e-4),
  "uvit_s2deep_coco": (256, 1_000_000, 2e-4),
  "edm_cifar10_vp": (512, 390_625, 1e-3),
  "edm_ffhq64_ve": (256, 781_250, 2e-4),
  "edm_imagenet64": (4096, 610_351, 1e-4),
  "diffit_cifar10": (512, 200_000, 1e-3),
  "diffit_ffhq64": (256, 200_000, 2e-4),
  "mean_flow_b4": (256, 1_200_000, 1e-4),
  "mean_flow_xl2": (256, 1_200_000, 1e-4),
  "improved_mean_flow_b2": (1024, 800_729, 1e-4),
  "consistency_training_cifar10": (512, 800_000, 4e-4),
  "improved_consistency_training_cifar10": (1024, 400_000, 1e-4),
  "consistency_distillation_cifar10": (512, 800_000, 4e-4),
  "easy_consistency_cifar10": (128, 200_000, 1e-4),
  "get_tiny_cifar10": (128, 800_000, 1e-4),
  "get_tiny_cifar10_4xiters": (128, 3_200_000, 1e-4),
  "get_base_cifar10_2xbatch": (256, 800_000, 1e-4),
  "get_base_cifar10_cond": (256, 800_000, 1e-4),
  "get_base_cifar10_cond_2m": (256, 1_200_000, 1e-4),
}
# Label dropout, guidance scale in the paper's terms, betas.
U_VIT = {
  "uvit_s2_cifar10": (0.0, 1.0, (0.99, 0.999)),
  "uvit_l2_imagenet256": (0.15, 0.4, (0.99, 0.99)),
  "uvit_h2_imagenet256": (0.1, 0.4, (0.99, 0.99)),
  "uvit_l4_imagenet512": (0.15, 0.7, (0.99, 0.99)),
  "uvit_h4_imagenet512": (0.1, 0.7, (0.99, 0.99)),
  "uvit_s2_coco": (0.1, 1.0, (0.9, 0.9)),
}


def load(name):
  return importlib.import_module(f"configs.{name}").get_config()


def test_every_published_network_has_an_experiment():
  files = (ROOT / "configs").glob("*_*.py")
  used = {load(path.stem).model.name for path in files}
  assert set(names()) - used == WITHOUT_RESULTS


@pytest.mark.parametrize("name", RECIPES)
def test_batch_steps_and_rate(name):
  config = load(name)
  rate = config.optimizer.learning_rate
  assert (config.batch_size, config.num_steps, rate) == RECIPES[name]


@pytest.mark.parametrize("name", U_VIT)
def test_guidance_and_betas_of_u_vit(name):
  config = load(name)
  betas = config.optimizer.b1, config.optimizer.b2
  found = config.label_dropout, config.guidance.scale, betas
  assert found == U_VIT[name]


def test_pairs_conditionings_and_blocks():
  assert load("get_base_cifar10").pairs.count == 1_000_000
  assert load("get_base_cifar10_cond_2m").pairs.count == 2_000_000
  conditionings = {
    load(f"vit_base_cifar10{suffix}").model.get("conditioning")
    for suffix in ("", "_cond", "_cond_adaln")
  }
  assert conditionings == {None, "injection", "adaLN-Zero"}
  blocks = {
    load(f"dit_xl2{suffix}").model.get("block")
    for suffix in ("", "_incontext", "_crossattention", "_adaln")
  }
  assert blocks == {None, "in-context", "cross-attention", "adaLN"}


def test_text_of_coco():
  config = load("uvit_s2_coco")
  assert config.data.scaling_factor == 0.23010
  assert config.evaluation.count == 30_000
  assert config.process.name == "stable_diffusion"
  assert load("uvit_s2deep_coco").model.name == "U-ViT-S/2-COCO-deep"
