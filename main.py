"""Trains, samples and evaluates image generators built on transformers.

python main.py --config=configs/get_digits.py --workdir=runs/get_digits
"""

from get_jax.cli.main import main

if __name__ == "__main__":
  main()
