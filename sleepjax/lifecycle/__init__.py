"""One cycle of wake and sleep, and a life of many."""
