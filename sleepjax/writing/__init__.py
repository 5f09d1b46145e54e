"""What a teacher writes: dreams, rehearsal, and what is kept of them."""
