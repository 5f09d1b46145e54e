"""A model that has slept, as a plain Hugging Face folder.

  python -m experiments.export --checkpoint=DIR --out=HF_DIR

Slots are folded into the MLPs, so the result is an ordinary Llama, Qwen2 or
Qwen3 model with a larger intermediate size: transformers and the usual servers
load it without code of ours. --checkpoint is a run's workdir or its model
folder.
"""

import pathlib

from absl import flags

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.growth.fold import fold_slots
from sleepjax.models.export import export_hf
from sleepjax.training import checkpoints


def main(argv):
  values = flags.FlagValues()
  flags.DEFINE_string('checkpoint', None, 'Workdir or model folder.',
                      flag_values=values)
  flags.DEFINE_string('out', None, 'New folder.', flag_values=values)
  flags.DEFINE_bool('help', False, 'Show this help.', flag_values=values)
  try:
    values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from None
  if values.help:
    print(__doc__)
    return
  for name in ('checkpoint', 'out'):
    if values[name].value is None:
      raise UserError(f'--{name} is missing; see --help.')
  folder = pathlib.Path(values.checkpoint)
  if checkpoints.is_saved(folder / 'model'):
    folder /= 'model'
  saved = checkpoints.load_model(folder)
  config, params = fold_slots(saved.config, saved.params)
  export_hf(config, params, saved.tokenizer, values.out)
  print(f'Wrote {values.out}: intermediate_size {saved.config.mlp_dim} -> '
        f'{config.mlp_dim}, {saved.config.num_slots} slots folded.')


if __name__ == '__main__':
  import sys
  _main.run(main, sys.argv)
