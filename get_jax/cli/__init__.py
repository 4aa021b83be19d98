"""The command line: flags, config files, joining processes, exit codes."""

__all__ = ["config_file", "exit", "flags", "launch", "main"]
