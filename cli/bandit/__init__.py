"""Logs of bandits, for `flinkrec ope`: files, and the Open Bandit sample."""
