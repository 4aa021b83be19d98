"""The command line: flags, config files, joining processes, exit codes."""

__all__ = [
  "config_flags",
  "exit",
  "flags",
  "launch",
  "main",
  "weights_flag",
]
