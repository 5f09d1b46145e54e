"""One process of several, for `test_distributed`.

  python -m tests.process_worker steps|late|meet [FOLDER]
"""

import os
import sys
import time

import jax
import numpy as np

from sleepjax.errors import UserError
from sleepjax.mesh import distributed, sharding
from sleepjax.models import finite


def _split(numbers):
  mesh = sharding.make_mesh(sharding.MeshConfig(data=-1))
  return sharding.put(numbers, sharding.batch_shardings(numbers, mesh)), mesh


what = sys.argv[1]
assert distributed.initialize()
me = jax.process_index()
print(f'pid {os.getpid()} is {me} of {jax.process_count()} with '
      f'{jax.local_device_count()} of {jax.device_count()} devices', flush=True)
if what == 'late':
  if me == 0:
    try:
      distributed.barrier('everybody', 0.5)
    except TimeoutError as error:
      print(error)
  distributed.barrier('end', 30)
elif what == 'meet':
  print('threads', os.environ['PJRT_NPROC'])
  print('agreed', [distributed.agreed(value) for value in (me == 0, me == 1)])
  distributed.make_shared(f'{sys.argv[2]}/ours')
  try:
    distributed.make_shared(f'{sys.argv[2]}/{me}')
  except UserError as error:
    print(error)
  try:
    distributed.make_shared(f'{sys.argv[2]}/not_{me}/run')
  except UserError as error:
    print('refused', error)
  numbers = np.arange(4.0)
  numbers[0] = np.nan
  print('not finite:', finite.not_finite({'split': _split(numbers)[0]}))
  distributed.barrier('end', 30)
else:
  numbers, mesh = _split(np.arange(8.0))
  total = jax.jit(lambda x: x.sum(), out_shardings=sharding.replicated(mesh))
  for step in range(600):
    distributed.log('train', step)
    assert float(total(numbers)) == 28.0
    time.sleep(0.1)
