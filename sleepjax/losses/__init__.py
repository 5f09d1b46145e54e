"""Divergences, policy gradients and rewards; nothing here trains."""
