"""What `benchmark` and `compile` are made of."""
