"""Behaviour events: the schema of the `events` topic, and the cleaning that stands between it and everything else."""

from __future__ import annotations
