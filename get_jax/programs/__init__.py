"""What main.py --mode runs."""
