r"""Which part of seeding does what: every arm, several seeds, one table.

  python -m experiments.ablate_seeding --config=configs/seeding/world.py \
      --workdir=DIR
  python -m experiments.ablate_seeding --config=configs/seeding/squad.py \
      --workdir=DIR

In the tiny world each run is ten days and nights (`experiments.quickstart`);
on SQuAD, SmolLM2 sleeps on each of a few passages
(`experiments.squad_passages`). The arms are those of configs/seeding/arms.py: a
lifecycle with parts switched, at equal updates and rows; `tokens` says what
seeding read and wrote for them. Writes a folder for each arm and seed, and
after each of them DIR/report.json and DIR/table.md with means and 95 %
intervals over seeds. On SQuAD every seed has passages of its own, the same for
all arms, so that intervals cover the choice of passages too. What is finished
is not repeated.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('ablate_seeding')

from absl import flags

from configs.seeding.arms import with_arm
from experiments import _ablation, _config

# Its own flags, so that one process can import several commands.
_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Folder for all results.', flag_values=_FLAGS)


def main(argv):
  config = _config.from_flags(
      argv, default='configs/seeding/world.py', description=__doc__,
      flag_values=_FLAGS,
      needs=('model', 'sleep', 'scale', 'arms', 'seeds', 'rates'))
  _ablation.run(
      config, _config.path(_WORKDIR),
      lambda sleep, arm, config: with_arm(sleep, arm, config.rates),
      _ablation.SEEDING_COLUMNS)
