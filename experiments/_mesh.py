"""Which devices a command computes on."""

import contextlib

import jax

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.training import sharding
from sleepjax.training.sharding import MeshConfig


@contextlib.contextmanager
def devices_of(config):
  """The devices of config.mesh, for the whole run of one process.

  `sharding.on_mesh` puts parameters there; the steps split rows over them. The
  entry is taken out of the configuration: it says where a run is computed, not
  what, so a run may be resumed on another mesh.

  Raises:
    UserError: more devices than there are, or several processes, whose hosts
      would each draw their own dreams.
  """
  mesh_config = MeshConfig() if 'mesh' not in config else _main.to_dataclass(
      MeshConfig, config.mesh, 'config.mesh')
  if jax.process_count() > 1:
    raise UserError(
        f'{jax.process_count()} processes: this command runs in one, on all '
        'devices that it sees. Start it on one host only.')
  mesh = sharding.make_mesh(mesh_config)
  with config.unlocked():
    if 'mesh' in config:
      del config['mesh']
  with jax.set_mesh(mesh) if mesh.size > 1 else contextlib.nullcontext():
    yield mesh
