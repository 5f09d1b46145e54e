r"""What dreaming adds, and which part of it does what.

  python -m experiments.ablate_dreaming --config=configs/dreaming/world.py \
      --workdir=DIR
  python -m experiments.ablate_dreaming --config=configs/dreaming/squad.py \
      --workdir=DIR

As `experiments.ablate_seeding`, with the arms of configs/dreaming/arms.py. In
the table, `tokens` are those that a model read or wrote asleep.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('ablate_dreaming')

from absl import flags

from configs.dreaming.arms import with_arm
from experiments import _ablation, _config

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/dreaming/world.py', description=__doc__,
      flag_values=_FLAGS,
      needs=('model', 'sleep', 'scale', 'arms', 'seeds'))
  _ablation.run(config, _config.path(_WORKDIR),
                lambda sleep, arm, config: with_arm(sleep, arm),
                _ablation.DREAMING_COLUMNS)
