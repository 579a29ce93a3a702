"""Slates that are ranked by expected value, and what campaigns pay for their places (docs/auction.md)."""
