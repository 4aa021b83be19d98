"""Packaging of get_jax; the settings of the tools are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r'^__version__ = "(.+)"$',
  (ROOT / "get_jax" / "__init__.py").read_text("utf-8"),
  re.MULTILINE,
)[1]

REQUIRES = [
  "jax>=0.10.2,<0.13",
  "flax>=0.12.8",
  "optax>=0.2.8",
  "orbax-checkpoint>=0.12.8,<0.13",
  "ml-collections>=1.1",
  "tensorflow-datasets>=4.9.10",
  "clu>=0.0.12",
  "grain>=0.2.18",
  "absl-py",
  "etils[epath]>=1.15",
  "fsspec",
  "gcsfs>=2026.10",
  "numpy",
  "scipy",
  "scikit-learn",
  "Pillow",
  "matplotlib",
  "jinja2>=3.1",
  "tqdm",
  "rich",
  "safetensors",
  "pooch>=1.8.2",
  "huggingface-hub>=1.0",
  "requests>=2.32",
  "filelock>=3.16",
  "tensorstore",
  "jaxtyping",
]

DOCS = [
  "furo>=2025.12.19",
  "myst-nb>=1.4",
  "sphinx>=9.0",
  "sphinx-copybutton>=0.5.2",
]
EXTRAS = {
  "cuda12": ["jax[cuda12]>=0.10.2,<0.13"],
  "cuda13": ["jax[cuda13]>=0.10.2,<0.13"],
  "tpu": ["jax[tpu]>=0.10.2,<0.13"],
  "demo": ["gradio>=6.31"],
  "docs": DOCS,
  "prepare": ["tensorflow-cpu"],
  "text": ["transformers>=4.40"],
  "hf": ["datasets>=3.0"],
  "tensorboard": ["tensorboardX"],
  "wandb": ["wandb>=0.31"],
  "test": [
    *DOCS,
    "pytest",
    "pytest-randomly>=5.1",
    "pytest-xdist",
    "hypothesis",
    "ruff",
    "import-linter",
    "mypy",
    "types-requests",
    "types-tqdm",
    "beartype",
    "build",
    "datasets>=3.0",
    "gcp-storage-emulator>=2026.7",
    "gradio>=6.31",
    "ipykernel",
    "ipywidgets",
    "jupytext>=1.16",
    "nbclient>=0.10",
    "optimistix",
    "playwright>=1.65",
    "setuptools>=77",
    "tensorboardX",
    "wandb>=0.31",
  ],
}

# In a checkout the experiments are a package next to get_jax. They are
# installed inside it, so that the installation takes only one name.
CONFIGS = ["get_jax.configs", "get_jax.configs.recipes"]

setup(
  name="get_jax",
  version=VERSION,
  description=(
    "Image generators on transformers in JAX: GET, DiT, U-ViT, DiffiT, ViT "
    "and their EDM teachers, from a laptop to TPU and GPU pods"
  ),
  long_description=(ROOT / "README.md").read_text("utf-8"),
  long_description_content_type="text/markdown",
  author="The get_jax authors",
  license_expression="Apache-2.0",
  python_requires=">=3.11",
  packages=[*find_packages(include=["get_jax", "get_jax.*"]), *CONFIGS],
  package_dir={"get_jax.configs": "configs"},
  # Data are files beside the modules, or in a folder called files.
  package_data={"": ["*", "files/*"]},
  install_requires=REQUIRES,
  extras_require=EXTRAS,
  entry_points={"console_scripts": ["get_jax = get_jax.cli.main:main"]},
  classifiers=[
    "Intended Audience :: Science/Research",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
  ],
)
