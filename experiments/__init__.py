"""The commands of the project, one a file: `python -m experiments.NAME`."""

from experiments import _host_pages

_host_pages.restart_with_huge_pages()
