"""Pure recommender logic: no Flink, no I/O, no clock, no global random state."""
