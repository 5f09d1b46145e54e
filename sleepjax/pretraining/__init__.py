"""Next-token training of all parameters."""
