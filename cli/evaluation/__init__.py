"""What `flinkrec evaluate` does: one module an engine, the ablation, and what is written of a run."""
