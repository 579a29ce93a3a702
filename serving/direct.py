"""HTTP clients for what is asked on the way to an answer, such as Flink: no proxy of the environment may come between."""

from __future__ import annotations

import httpx


def direct_client(address: str = "", *, timeout_s: float) -> httpx.Client:
    """A client for one address, or for any; close it, or use it in a ``with``."""
    return httpx.Client(base_url=address, timeout=timeout_s, trust_env=False)


def direct_async_client(address: str, *, timeout_s: float) -> httpx.AsyncClient:
    """The same for an event loop."""
    return httpx.AsyncClient(base_url=address, timeout=timeout_s, trust_env=False)
