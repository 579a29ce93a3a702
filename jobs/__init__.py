"""Wiring of the operators into Flink jobs."""
