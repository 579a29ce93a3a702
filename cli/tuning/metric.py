"""What can be tuned for."""

from __future__ import annotations

from enum import StrEnum


class Metric(StrEnum):
    """A mean over judged events: of hits, or of 1 / log2(position + 1)."""

    HIT_RATE = "hr"
    NDCG = "ndcg"

    def named(self, k: int) -> str:
        """Its name for people, such as HR@10."""
        return f"{self.upper()}@{k}"
