"""The `flinkrec` command: one file a command."""
