"""A model that has slept, as a plain Hugging Face folder.

  python -m experiments.export --checkpoint=DIR --out=HF_DIR

Slots are folded into the MLPs, so the result is an ordinary Llama, Qwen2 or
Qwen3 model with a larger intermediate size: transformers and the usual servers
load it without code of ours. --checkpoint is a run's workdir or its model
folder. Some servers want a width that 128 or 256 divides: --pad-to adds hidden
units whose weights are zero.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('export')

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.growth.fold import fold_slots, pad_units
from sleepjax.models.export import (
    check_exportable,
    check_new_folder,
    export_hf,
)
from sleepjax.models.tensor_files import DTYPES
from sleepjax.training import checkpoints


def main(argv):
  parser = _main.Parser('export', __doc__)
  parser.add_argument('--checkpoint', required=True, metavar='DIR',
                      help='workdir of a run, or the folder of a saved model')
  parser.add_argument('--out', required=True, metavar='HF_DIR',
                      help='new folder')
  parser.add_argument('--dtype', choices=[*DTYPES], default='float32',
                      help='of the weights; %(default)s by default')
  parser.add_argument('--shard-gib', type=float, default=5.0, metavar='GIB',
                      help='largest file of weights; %(default)s by default')
  parser.add_argument('--pad-to', type=int, default=1, metavar='N',
                      help='make the MLP width a multiple of this')
  args = parser.parse_args(argv[1:])
  if not args.shard_gib > 0:
    raise UserError(f'--shard-gib={args.shard_gib} must be positive.')
  if args.pad_to < 1:
    raise UserError(f'--pad-to={args.pad_to} must be at least 1.')
  folder = _main.model_folder(args.checkpoint)
  check_new_folder(args.out)
  if (config := checkpoints.describe(folder).config) is not None:
    check_exportable(config)  # Before its arrays are read.
  saved = checkpoints.load_model(folder)
  config, params = fold_slots(saved.config, saved.params)
  config, params = pad_units(config, params, args.pad_to)
  export_hf(config, params, saved.tokenizer, args.out, dtype=args.dtype,
            most_bytes=int(args.shard_gib * 2 ** 30))
  print(f'Wrote {args.out}: intermediate_size {saved.config.mlp_dim} -> '
        f'{config.mlp_dim}, {saved.config.num_slots} slots folded.')
