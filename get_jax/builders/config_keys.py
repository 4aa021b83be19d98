"""Every key of a config with its type, default, range and meaning.

Sections with a `name` (model, process, sampler, data) have the fields of what
they name. Types, defaults and meanings of these come from its class; this
module adds their ranges.
"""

from typing import Literal

from get_jax.builders.schema import (
  BELOW_ONE,
  COUNT,
  FINITE,
  FRACTION,
  NON_NEGATIVE,
  POSITIVE,
  POSITIVE_FRACTION,
  Key,
  Keys,
  Range,
)
from get_jax.builders.tasks import TASKS

SEED = Range(0, 2**32)
Dtype = Literal["float32", "bfloat16", "float16"]
Score = Literal[
  "fid", "sfid", "inception_score", "precision", "recall", "kid",
  "class_accuracy",
]  # fmt: skip

TOP: Keys = {
  "seed": Key(
    int, "Seed of initialisation, data order and training noise.", 0, SEED
  ),
  "task": Key(
    Literal[TASKS],
    "What the network learns: to denoise, or to reproduce noise/image pairs.",
    "denoising",
  ),
  "label_dropout": Key(
    float,
    "Share of labels or captions that training replaces by the null condition.",
    0.0,
    FRACTION,
  ),
  "batch_size": Key(int, "Images per step, over all devices.", 256, COUNT),
  "accumulation": Key(
    int, "Number of parts in which a batch is processed.", 1, COUNT
  ),
  "num_steps": Key(int, "Training steps.", 400_000, COUNT),
  "init_from": Key(
    str,
    "Workdir or official checkpoint, as a file or by name, whose parameters "
    "training starts from; empty: random parameters.",
    "",
    required=False,
  ),
  "log_every": Key(int, "Steps between lines of metrics.jsonl.", 100, COUNT),
  "checkpoint_every": Key(
    int,
    "Steps between checkpoints; 0: only after the last step.",
    5_000,
    NON_NEGATIVE,
  ),
  "keep_checkpoints": Key(
    int, "Number of checkpoints to keep, the newest ones.", 2, COUNT
  ),
  "preview_every": Key(
    int, "Steps between grids of samples; 0: none.", 0, NON_NEGATIVE
  ),
  "wandb": Key(
    str,
    "Project of Weights & Biases that metrics are written to, such as digits "
    "or my-team/digits; empty: none.",
    "",
    required=False,
  ),
}

# Sections of every experiment, with fixed keys.
SECTIONS: dict[str, Keys] = {
  "loader": {
    "threads": Key(int, "Number of batches read at the same time.", 4, COUNT),
    "workers": Key(
      int,
      "Number of processes that read batches; 0: threads only.",
      0,
      NON_NEGATIVE,
    ),
  },
  "autoencoder": {
    "name": Key(
      str,
      "Settings by name (SD, SDXL, SD3, FLUX.1) where the network works on "
      "latents; empty: it works on pixels.",
      "",
    ),
    "weights": Key(
      str, "Folder, file or name of the weights, such as sd-vae-ft-ema.", ""
    ),
    "dtype": Key(Dtype, "Type of the matrix products.", "float32"),
    "batch_size": Key(
      int, "Number of latents that a device decodes at once.", 4, COUNT
    ),
  },
  "optimizer": {
    "learning_rate": Key(float, "Peak learning rate.", 1e-4, POSITIVE),
    "schedule": Key(
      Literal["constant", "cosine"],
      "Learning rate after the warm-up: constant, or a cosine to zero.",
      "constant",
    ),
    "warmup_steps": Key(
      float,
      "Steps of the linear warm-up; not necessarily whole.",
      0.0,
      NON_NEGATIVE,
    ),
    "b1": Key(float, "Decay of Adam's first moment.", 0.9, BELOW_ONE),
    "b2": Key(float, "Decay of Adam's second moment.", 0.999, BELOW_ONE),
    "eps": Key(float, "Adam's epsilon.", 1e-8, POSITIVE),
    "rectified": Key(
      bool,
      "Whether the first steps are rectified (RAdam), in place of a warm-up.",
      False,
      required=False,
    ),
    "weight_decay": Key(float, "Decoupled weight decay.", 0.0, NON_NEGATIVE),
    "clip_norm": Key(
      float,
      "Largest global norm of a gradient; 0: no limit.",
      0.0,
      NON_NEGATIVE,
    ),
    "nonfinite": Key(
      Literal["stop", "skip", "replace"],
      "What a loss or gradient that is not finite does: stop the run, skip the "
      "step (10 in a row stop the run), or replace its entries as EDM does.",
      "stop",
    ),
  },
  "ema": {
    "decay": Key(
      float,
      "Decay per step; excludes half_life_images.",
      0.9999,
      FRACTION,
      required=False,
    ),
    "half_life_images": Key(
      float,
      "Half-life in images, as in EDM; excludes decay.",
      None,
      POSITIVE,
      required=False,
    ),
    "rampup": Key(
      float,
      "Limit of the half-life as a share of the images seen; 0: no limit.",
      0.05,
      NON_NEGATIVE,
      required=False,
    ),
  },
  "mesh": {
    "data": Key(
      int,
      "Devices with copies of the parameters; -1: the rest.",
      -1,
      COUNT,
      (-1,),
    ),
    "fsdp": Key(
      int, "Devices that shard parameters and batch.", 1, COUNT, (-1,)
    ),
    "tensor": Key(int, "Devices that shard heads and widths.", 1, COUNT, (-1,)),
  },
  "guidance": {
    "scale": Key(
      float,
      "Guidance scale; no guidance is 1, or 0 in the convention u-vit.",
      1.0,
      NON_NEGATIVE,
      required=False,
    ),
    "channels": Key(
      int | None,
      "Number of leading channels to guide; None: all.",
      None,
      COUNT,
      required=False,
    ),
    "schedule": Key(
      Literal["constant", "power_cosine"],
      "Scale over time: constant, or DiffiT's power of a cosine.",
      "constant",
      required=False,
    ),
    "power": Key(
      float, "Exponent of power_cosine.", 4.0, NON_NEGATIVE, required=False
    ),
    "period": Key(
      float,
      "Time at which power_cosine is 1.",
      1000.0,
      POSITIVE,
      required=False,
    ),
    "interval": Key(
      tuple[float, float] | None,
      "Noise levels (low, high) between which to guide; None: all.",
      None,
      Range(0, open_high=False),
      required=False,
    ),
    "convention": Key(
      Literal["w", "u-vit"],
      "Meaning of scale: w, where 1 is no guidance, or u-vit, where 0 is none.",
      "w",
      required=False,
    ),
  },
  "sampling": {
    "count": Key(int, "Number of samples.", 16, COUNT),
    "batch_size": Key(int, "Number of samples generated at once.", 256, COUNT),
    "seed": Key(int, "Seed of the samples.", 0, SEED),
    "iterations": Key(
      int,
      "Equilibrium iterations of a one-step generator.",
      None,
      COUNT,
      required=False,
    ),
    "solver": Key(
      Literal["", "simple", "anderson", "broyden"],
      "Solver of an equilibrium; empty: that of training.",
      "",
      required=False,
    ),
    "tolerance": Key(
      float | None,
      "Relative residual at which a sample stops before `iterations`; None: "
      "that of the solver.",
      None,
      POSITIVE,
      required=False,
    ),
    "captions": Key(
      str,
      "Directory of encoded captions to sample from; empty: those of the data.",
      "",
      required=False,
    ),
  },
  "evaluation": {
    "extractor": Key(
      str, "Feature extractor, such as digits-v1 or inception.", ""
    ),
    "extractor_path": Key(
      str,
      "File or name of the extractor's weights; empty: Inception's published "
      "ones.",
      "",
    ),
    "preprocessing": Key(
      str, "Resizing before Inception; empty: that of the preset.", ""
    ),
    "preset": Key(str, "Protocol of a paper, such as edm or dit.", ""),
    "scores": Key(tuple[Score, ...], "Scores; empty: those of the preset.", ()),
    "reference": Key(
      str,
      "File or name of reference statistics or images, such as "
      "adm-imagenet-256; empty: the training data.",
      "",
    ),
    "samples": Key(
      str,
      "Images from elsewhere (.npz, .zip or folder) to evaluate instead of "
      "samples.",
      "",
    ),
    "count": Key(int, "Number of samples.", 50_000, Range(2)),
    "seed": Key(int, "Seed of the samples.", 1, SEED),
  },
  "curve": {
    "over": Key(
      str, "What to evaluate against: step, or a config key.", "step"
    ),
    "at": Key(
      tuple[float | str, ...],
      "Values of that key; empty: all saved steps.",
      (),
    ),
  },
}

# Sections of some experiments, with fixed keys.
OPTIONAL_SECTIONS: dict[str, Keys] = {
  "init": {
    "classes": Key(
      tuple[int, ...],
      "With init_from: for each class, the class of the source whose embedding "
      "it gets, or -1 for a fresh one; empty: all, or fresh ones if their "
      "number differs.",
      (),
      Range(-1),
      required=False,
    ),
    "reset": Key(
      tuple[str, ...],
      "With init_from: modules that start fresh, such as final_layer.",
      (),
      required=False,
    ),
    "positions": Key(
      Literal["bicubic", "bilinear_corners"],
      "With init_from: how learned positions are resampled.",
      "bicubic",
      required=False,
    ),
    "resize_patches": Key(
      bool,
      "With init_from: whether another patch size is allowed, to which the "
      "layers of patches are resized.",
      False,
      required=False,
    ),
  },
  "distillation": {
    "distance": Key(
      Literal["l1", "l2"], "Distance to the teacher's image.", "l1"
    ),
    "decay": Key(
      float, "Weight of an iterate relative to the next one.", 0.8, FRACTION
    ),
    "iterations": Key(int, "Equilibrium iterations in training.", 6, COUNT),
    "z0": Key(
      Literal["noise", "zeros"], "Initial state of the equilibrium.", "noise"
    ),
    "time": Key(
      float,
      "Constant time input of a student that is a denoiser.",
      0.0,
      FINITE,
      required=False,
    ),
  },
  "pairs": {
    "count": Key(int, "Number of noise/image pairs.", 1_000_000, COUNT),
    "seed": Key(int, "Seed of the noise.", 0, SEED),
    "dtype": Key(
      Literal["uint8", "float16", "float32"],
      "Stored type of the images.",
      "float32",
    ),
    "shard_size": Key(int, "Number of pairs per shard.", 10_000, COUNT),
    "directory": Key(
      str, "Directory of existing pairs; empty: the workdir's, generated.", ""
    ),
    "teacher_workdir": Key(
      str, "Workdir of a trained teacher; empty: it is trained first.", ""
    ),
  },
  "report": {
    "enabled": Key(bool, "Whether training ends with a report.", True),
    "iterations": Key(
      tuple[int, ...], "Equilibrium iterations to report on.", (), COUNT
    ),
  },
}

# `latents` also has `data`, a section as the top-level one.
LATENTS: Keys = {
  "dtype": Key(
    Literal["float16", "float32"], "Stored type of the moments.", "float16"
  ),
  "flips": Key(bool, "Whether mirrored images are encoded too.", True),
  "shard_size": Key(int, "Number of images per shard.", 4096, COUNT),
  "batch_size": Key(int, "Number of images encoded at once.", 64, COUNT),
}
LATENTS_CAPTIONS: Keys = {
  "file": Key(str, "File of captions: MS-COCO's JSON, or JSON lines.", ""),
  "encoder": Key(
    str,
    "Folder or name of CLIP's text encoder, such as clip-vit-large-patch14.",
    "",
  ),
  "tokenizer": Key(str, "Folder of its tokenizer; empty: the encoder's.", ""),
}

# Ranges of the fields of networks, processes, samplers, augmentations and data
# sources, by name. Other integers are at least 1 and other floats finite.
FIELD_RANGES: dict[str, Range] = {
  **dict.fromkeys(
    (
      "augment_dim", "context_tokens", "depth", "first_timestep",
      "injection_depth", "num_classes",
    ),
    NON_NEGATIVE,
  ),
  **dict.fromkeys(
    (
      "aniso", "brightness", "contrast", "eta", "hue", "lumaflip",
      "rotate_frac", "rotate_int", "s_churn", "s_min", "saturation", "scale",
      "translate_frac", "translate_int", "xflip", "yflip",
    ),
    NON_NEGATIVE,
  ),
  **dict.fromkeys(
    (
      "aniso_std", "atol", "beta_d", "beta_max", "beta_min", "brightness_std",
      "c_1", "c_2", "contrast_std", "equilibrium_mlp_ratio", "fourier_scale",
      "h_init",
      "hue_max", "mlp_ratio", "p_std", "rho", "rotate_frac_max", "rtol",
      "s_noise", "saturation_std", "scale_std", "scaling_factor", "sigma_data",
      "sigma_max", "sigma_min", "sigmas", "t_error", "time_scale",
      "translate_frac_std",
      "translate_int_max", "u",
    ),
    POSITIVE,
  ),
  **dict.fromkeys(
    (
      "alpha", "cosine_s", "epsilon_s", "epsilon_t", "linear_end",
      "linear_start", "t_first", "t_last", "theta",
    ),
    POSITIVE_FRACTION,
  ),
  **dict.fromkeys(
    (
      "aniso_rotate_prob", "equal_fraction", "interval", "p", "t_max", "t_min",
      "times",
    ),
    FRACTION,
  ),
  **dict.fromkeys(
    ("b", "huber_c", "k", "omega", "w", "w_range", "weight_power"),
    NON_NEGATIVE,
  ),
  **dict.fromkeys(("decay", "dropout", "start_decay"), BELOW_ONE),
  "diffusion_norm": NON_NEGATIVE,
  "epsilon": Range(0, 0.5),
  "last_step_size": Range(0, 1, open_low=True),
  "num_timesteps": Range(2, 100_000, open_high=False),
  "order": Range(1, 3, open_high=False),
  "p_mean": FINITE,
  "q": Range(1, open_low=True),
  "s_max": Range(0, open_high=False),
  "scales": Range(2),
  "t_end": POSITIVE_FRACTION,
  "t_start": BELOW_ONE,
  "w_max": Range(1, open_low=True),
  "weight_epsilon": POSITIVE,
}  # fmt: skip
