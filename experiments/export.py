r"""A model that has slept, as other programs load it.

  python -m experiments.export --checkpoint=DIR --out=HF_DIR
  python -m experiments.export --checkpoint=DIR --dtype=q8_0 --out=FILE.gguf
  python -m experiments.export --checkpoint=DIR --format=peft --base=HF_DIR \
      --out=ADAPTER_DIR

Slots are folded into the MLPs, so the result is an ordinary Llama, Qwen2,
Qwen3, SmolLM3 or Gemma 3 model with a larger intermediate size: transformers
and the usual servers load the folder, llama.cpp the file, without code of ours
(docs/export.md). --checkpoint is a run's workdir or its model folder. Some
servers want a width that 128 or 256 divides: --pad-to adds hidden units whose
weights are zero. Nights that trained LoRA (config.sleep.trained=low_rank) can
leave as an adapter of PEFT for the model that they were learnt on, --base.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('export')

from experiments import _main
from sleepjax.errors import UserError
from sleepjax.growth import peft_files
from sleepjax.growth.fold import fold_slots, pad_units
from sleepjax.model import load_pretrained
from sleepjax.models import export, gguf_export, tensor_files
from sleepjax.training import checkpoints

_DTYPES = {'hf': [*tensor_files.DTYPES], 'gguf': [*gguf_export.DTYPES],
           'peft': [*tensor_files.DTYPES]}


def _parsed(argv):
  parser = _main.Parser('export', __doc__)
  parser.add_argument('--checkpoint', required=True, metavar='DIR',
                      help='workdir of a run, or the folder of a saved model')
  parser.add_argument('--out', required=True, metavar='PATH',
                      help='new folder, or new file that ends in .gguf')
  parser.add_argument('--format', choices=[*_DTYPES],
                      help='a Hugging Face folder (hf), a GGUF file, or an '
                      'adapter (peft); by default gguf if the name ends so, '
                      'else hf')
  parser.add_argument('--base', metavar='HF_DIR',
                      help='with --format=peft: the model before its nights')
  parser.add_argument('--dtype', default='float32',
                      help=f'of the weights: {", ".join(_DTYPES["gguf"])} '
                      '(the last in GGUF alone); %(default)s by default')
  parser.add_argument('--shard-gib', type=float, default=5.0, metavar='GIB',
                      help='largest file of weights; %(default)s by default')
  parser.add_argument('--pad-to', type=int, default=1, metavar='N',
                      help='make the MLP width a multiple of this')
  args = parser.parse_args(argv[1:])
  args.format = args.format or (
      'gguf' if args.out.endswith('.gguf') else 'hf')
  if not args.shard_gib > 0:
    raise UserError(f'--shard-gib={args.shard_gib} must be positive.')
  if args.pad_to < 1:
    raise UserError(f'--pad-to={args.pad_to} must be at least 1.')
  if args.dtype not in _DTYPES[args.format]:
    raise UserError(f'--dtype={args.dtype}: with --format={args.format} it '
                    f'must be one of {", ".join(_DTYPES[args.format])}.')
  if (args.base is None) == (args.format == 'peft'):
    raise UserError('--base and --format=peft belong together: an adapter is '
                    'what a model has learnt since its base.')
  if args.base is not None and args.pad_to != 1:
    raise UserError('--pad-to: an adapter keeps the shape of its base.')
  return args


def main(argv):
  args = _parsed(argv)
  folder = _main.model_folder(args.checkpoint)
  if args.format == 'gguf':
    gguf_export.check_new_file(args.out)
  else:
    export.check_new_folder(args.out)
  if args.base is not None:
    _write_adapter(args, checkpoints.load_model(folder))
    return
  if (config := checkpoints.describe(folder).config) is not None:
    export.check_exportable(config)  # Before its arrays are read.
  saved = checkpoints.load_model(folder)
  config, params = fold_slots(saved.config, saved.params)
  config, params = pad_units(config, params, args.pad_to)
  size = {'dtype': args.dtype, 'most_bytes': int(args.shard_gib * 2 ** 30)}
  written = [args.out]
  if args.format == 'gguf':
    written = gguf_export.export_gguf(
        config, params, saved.tokenizer, args.out, name=saved.name, **size)
  else:
    export.export_hf(config, params, saved.tokenizer, args.out, **size)
  slots = saved.config.num_slots
  print(f'Wrote {", ".join(map(str, written))}: intermediate_size '
        f'{saved.config.mlp_dim} -> {config.mlp_dim}, '
        f'{slots} slot{"s" * (slots != 1)} folded.')
  prompt = saved.lineage.get('answer_prompt', '{question}')
  if prompt != '{question}':
    print(f'While it slept it was asked as {prompt!r}: ask it so.')


def _write_adapter(args, saved):
  part, value = peft_files.low_rank_change(load_pretrained(args.base), saved)
  peft_files.export_peft(part, value, args.base, args.out, args.dtype)
  print(f'Wrote {args.out}: rank {part.rank} in {", ".join(part.matrices)} of '
        f'{saved.config.num_layers} layers.')
