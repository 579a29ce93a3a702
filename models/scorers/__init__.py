"""Scorers: networks that re-rank the candidates of a slate. One file each."""
