"""The command line: flags, launching, exit codes."""
