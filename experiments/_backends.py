"""What JAX computes with, and what to do where it cannot."""

import importlib.util
import os
import re
import subprocess
import sys
import traceback

from sleepjax.errors import UserError

_PACKAGES = {'tpu': ('libtpu',),
             'cuda': ('jax_cuda12_plugin', 'jax_cuda13_plugin'),
             'rocm': ('jax_rocm60_plugin', 'jax_rocm7_plugin')}
_HARMLESS = re.compile(
    r'--xla_(force_host_platform_device_count|backend_optimization_level)=\d+|'
    r'--xla_llvm_disable_expensive_passes=(true|false)')
# XLA ends a process that has flags which it does not know.
_ASK_XLA = 'from jaxlib import xla_client; xla_client.make_cpu_client()'


def installed() -> list[str]:
  """Backends that JAX has a library for; whether there is a device is open."""
  return ['cpu', *(name for name, packages in _PACKAGES.items()
                   if any(map(importlib.util.find_spec, packages)))]


def explained(error: Exception) -> str | None:
  """What the user can do about an exception of JAX's start; None: nothing."""
  text = ' '.join(str(error).split())
  if isinstance(error, ValueError):
    return text if 'environment' in text and 'JAX_' in text else None
  frames = traceback.extract_tb(error.__traceback__)
  if not frames or not frames[-1].filename.endswith('xla_bridge.py'):
    return None
  asked = [f'{name}={os.environ[name]}' for name in (
      'JAX_PLATFORMS', 'JAX_PLATFORM_NAME') if os.environ.get(name)]
  return (
      f'{" ".join(asked) or "JAX"}: no device to compute on '
      f'({text or "there is no such device or library here"}). JAX is '
      f'installed here for: {", ".join(installed())}. Unset JAX_PLATFORMS or '
      "name one of these; pip install 'sleepjax[cuda]' is for NVIDIA GPUs, "
      "'sleepjax[tpu]' for TPUs.")


def check_xla_flags() -> None:
  """Lets another process find out whether XLA takes XLA_FLAGS.

  Raises:
    UserError: it does not.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  if all(map(_HARMLESS.fullmatch, flags.split())):
    return
  asked = subprocess.run(
      [sys.executable, '-c', _ASK_XLA], stdin=subprocess.DEVNULL,
      capture_output=True, text=True, errors='replace')
  # Not where that process failed for another reason.
  if asked.returncode and 'Traceback' not in asked.stderr:
    said = asked.stderr.partition('\n')[0].split('] ', 1)[-1]
    raise UserError(f'XLA_FLAGS={flags!r}: XLA does not take it ({said}). '
                    'Correct it or unset it.')
