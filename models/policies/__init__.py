"""Policies: what is shown and what is explored. One file each."""
