"""What a compiled program costs, and what a chip could do."""
