"""Thin Flink adapters of the objects in `models`: state, timers, side outputs."""
