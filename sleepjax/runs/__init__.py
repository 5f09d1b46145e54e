"""One run: its folder, what watches and saves it, and the loop over nights."""
