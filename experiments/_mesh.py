"""Which devices a command computes on."""

import contextlib
import os

import jax

from experiments import _config
from sleepjax.mesh import distributed, sharding
from sleepjax.mesh.sharding import MeshConfig


@contextlib.contextmanager
def devices_of(config):
  """The devices of config.mesh, for the whole run.

  `sharding.on_mesh` puts parameters there; the steps split rows over them. The
  entry is taken out of the configuration: it says where a run is computed, not
  what, so a run may be resumed on another mesh.

  Of several processes each takes this in and computes its part; all take the
  same decisions, since everything random follows from one key. Inside, only the
  first one prints. They leave together.

  Raises:
    UserError: more devices than there are, or fewer than the processes have.
  """
  distributed.initialize()
  mesh_config = MeshConfig() if 'mesh' not in config else _config.to_dataclass(
      MeshConfig, config.mesh, 'config.mesh')
  mesh = sharding.make_mesh(mesh_config)
  with config.unlocked():
    if 'mesh' in config:
      del config['mesh']
  with contextlib.ExitStack() as stack:
    if mesh.size > 1:
      stack.enter_context(jax.set_mesh(mesh))
    if not distributed.is_first():
      nowhere = stack.enter_context(open(os.devnull, 'w'))
      stack.enter_context(contextlib.redirect_stdout(nowhere))
    yield mesh
    distributed.barrier('the end of the command', timeout=3600)
