"""Compiled programs kept on disk, so that the next process starts sooner."""

import os
import pathlib

import jax

_VARIABLE = 'SLEEPJAX_CACHE_DIR'


def enable_compilation_cache() -> pathlib.Path | None:
  """Keeps programs that took a second or more to compile; call this first.

  They go to `$SLEEPJAX_CACHE_DIR`, or to `~/.cache/sleepjax/jax`. The folder
  may be deleted at any time. Without one that can be written, nothing is kept.

  Returns:
    The folder, or None.
  """
  folder = os.environ.get(_VARIABLE) or '~/.cache/sleepjax/jax'
  try:
    folder = pathlib.Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
  except (OSError, RuntimeError):  # RuntimeError: there is no home folder.
    return None
  if not os.access(folder, os.W_OK):
    return None
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 1.0)
  return folder
