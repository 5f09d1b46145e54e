"""The commands of the project, one a file: `python -m experiments.NAME`."""
