"""Selects the timesteps of a respaced discrete process."""

from get_jax.errors import UsageError


def space_timesteps(
  num_timesteps: int, spacing: int | str | tuple[int, ...]
) -> tuple[int, ...]:
  """Returns the timesteps to keep, ascending (Dhariwal and Nichol).

  Args:
    num_timesteps: T of the original process.
    spacing: N or "N": N evenly spaced timesteps that include 0 and T - 1;
      "ddimN": multiples of the smallest stride that gives exactly N timesteps,
      from 0; "a,b,c": a, b and c timesteps from three equal sections; "": all
      timesteps; a tuple: these timesteps.

  Raises:
    UsageError: the spacing is invalid, or the process does not have as many
      timesteps.
  """
  if isinstance(spacing, tuple):
    given = tuple(sorted(spacing))
    if len(set(given)) < len(given) or not given or given[0] < 0:
      raise UsageError(f"timesteps {spacing} are not distinct and from 0")
    if given[-1] >= num_timesteps:
      raise UsageError(f"the process has no timestep {given[-1]}")
    return given
  word = str(spacing)
  if not word:
    return tuple(range(num_timesteps))
  if word.startswith("ddim"):
    return _strided(num_timesteps, _count(word[4:], word))
  counts = [_count(part, word) for part in word.split(",")]
  size, extra = divmod(num_timesteps, len(counts))
  kept: list[int] = []
  start = 0
  for section, count in enumerate(counts):
    length = size + (section < extra)
    if count > length:
      raise UsageError(
        f"spacing {word!r} asks for {count} of {length} timesteps"
      )
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    # A sum and not a product, as in the official code: the rounding of halves
    # depends on it.
    position = 0.0
    for _ in range(count):
      kept.append(start + round(position))
      position += stride
    start += length
  return tuple(kept)


def _strided(num_timesteps: int, count: int) -> tuple[int, ...]:
  for stride in range(1, num_timesteps):
    if len(range(0, num_timesteps, stride)) == count:
      return tuple(range(0, num_timesteps, stride))
  raise UsageError(
    f"no whole stride through {num_timesteps} timesteps gives {count} of them"
  )


def _count(digits: str, word: str) -> int:
  if not digits.strip().isdigit() or int(digits) < 1:
    raise UsageError(
      f"spacing {word!r} is none of N, 'ddimN' and 'a,b,c' with whole numbers "
      "from 1"
    )
  return int(digits)
