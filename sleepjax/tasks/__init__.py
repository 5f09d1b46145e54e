"""Benchmarks as tasks: days that are read, and an exam after every night."""
