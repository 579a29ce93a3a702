"""What `flinkrec simulate` is made of, beside the simulator itself (models/simulation)."""
