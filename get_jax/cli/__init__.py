"""The command line: flags, config files, joining processes, exit codes."""

__all__ = [
  "config_file",
  "exit",
  "experiments",
  "flags",
  "launch",
  "main",
  "weights_flag",
]
