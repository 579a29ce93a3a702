"""What `flinkrec tune` does: a configuration's walk through a stream, the search, and the file that it leaves."""
