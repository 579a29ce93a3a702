"""Thin Flink adapters of the objects in `models`: state, timers, side outputs.

What computes, and PyTorch with it, is imported where they open, on the cluster: who only makes the graph of a job does without.
"""
