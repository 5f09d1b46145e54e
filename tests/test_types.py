"""A type checker finds nothing wrong with the public surface."""

import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip(
    'basedpyright', reason="no type checker: pip install -e '.[dev]'")

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_the_public_surface():
  done = subprocess.run(
      [sys.executable, '-m', 'basedpyright', '--outputjson',
       '--pythonpath', sys.executable],
      cwd=ROOT, text=True, capture_output=True, check=False)
  found = json.loads(done.stdout)
  said = [f"{e['file']}:{e['range']['start']['line'] + 1}: {e['message']}"
          for e in found['generalDiagnostics']
          if e['severity'] in ('error', 'warning')]
  assert not said and done.returncode == 0
  assert found['summary']['filesAnalyzed'] > 25
