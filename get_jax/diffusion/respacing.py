"""Which timesteps of a long discrete process a shorter one keeps."""

from get_jax.errors import UsageError


def space_timesteps(
  num_timesteps: int, spacing: int | str | tuple[int, ...]
) -> tuple[int, ...]:
  """The kept timesteps, rising (Dhariwal and Nichol's choice).

  Args:
    num_timesteps: T of the long process.
    spacing: N or "N": N evenly spread timesteps that include 0 and T - 1;
      "ddimN": the smallest stride that gives exactly N, from 0; "a,b,c": so
      many from each of three equal sections; "" for all; a tuple is taken as
      the timesteps themselves.

  Raises:
    UsageError: where the process cannot give so many.
  """
  if isinstance(spacing, tuple):
    kept = tuple(sorted(spacing))
    if len(set(kept)) < len(kept) or not kept or kept[0] < 0:
      raise UsageError(f"timesteps {spacing} are not distinct and from 0")
    if kept[-1] >= num_timesteps:
      raise UsageError(f"the process has no timestep {kept[-1]}")
    return kept
  word = str(spacing)
  if not word:
    return tuple(range(num_timesteps))
  if word.startswith("ddim"):
    return _strided(num_timesteps, _count(word[4:], word))
  counts = [_count(part, word) for part in word.split(",")]
  size, extra = divmod(num_timesteps, len(counts))
  kept, start = [], 0
  for section, count in enumerate(counts):
    length = size + (section < extra)
    if count > length:
      raise UsageError(
        f"spacing {word!r} asks for {count} of {length} timesteps"
      )
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    # Summed, not multiplied: the official rounding of halves depends on it.
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
