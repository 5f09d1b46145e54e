"""One process of several, for `test_distributed`.

  python -m tests.process_worker steps|late
"""

import os
import sys
import time

import jax
import numpy as np

from sleepjax.training import distributed, sharding

_, what = sys.argv
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
else:
  mesh = sharding.make_mesh(sharding.MeshConfig(data=-1))
  numbers = np.arange(8.0)
  numbers = sharding.put(numbers, sharding.batch_shardings(numbers, mesh))
  total = jax.jit(lambda x: x.sum(), out_shardings=sharding.replicated(mesh))
  for step in range(600):
    distributed.log('train', step)
    assert float(total(numbers)) == 28.0
    time.sleep(0.1)
