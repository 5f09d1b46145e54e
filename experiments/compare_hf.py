r"""A slept model and its export side by side, the export in transformers.

  pip install torch transformers
  python -m experiments.export --checkpoint=DIR --out=HF_DIR
  python -m experiments.compare_hf --checkpoint=DIR --hf=HF_DIR \
      --questions=FILE.json

Both answer every question greedily in float32: the model with its slots here,
the folder with nothing but transformers' own classes, tokenizer and chat
template. Prints the answers and the largest difference of a logit, also as a
share of the largest logit, since float32 keeps seven digits of that; exits with
1 if an answer or a prompt's tokens differ, or that share exceeds --tolerance.
"""

if __name__ == '__main__':
  from experiments import _start
  _start.command('compare_hf')

import json
import pathlib
import time

import jax
import numpy as np
import rich.console
import rich.table

from experiments import _main
from sleepjax.data import documents, files
from sleepjax.errors import UserError
from sleepjax.evals import questions as questions_lib
from sleepjax.models import transformer
from sleepjax.training import checkpoints


def _parsed(argv):
  parser = _main.Parser('compare_hf', __doc__)
  add = parser.add_argument
  add('--checkpoint', required=True, metavar='DIR',
      help='workdir of a run, or the folder of a saved model')
  add('--hf', required=True, metavar='HF_DIR', help='what export wrote')
  add('--questions', required=True, metavar='FILE.json',
      help='a list of {"question": …, "answer": …}')
  add('--out', metavar='FILE.json', help='where to write the comparison')
  add('--max_new_tokens', type=int, default=32, metavar='N',
      help='longest answer, in tokens (default 32)')
  add('--tolerance', type=float, default=1e-5, metavar='X',
      help='largest difference of a logit as a share (default 1e-5)')
  args = parser.parse_args(argv[1:])
  if args.max_new_tokens < 1:
    raise UserError(
        f'--max_new_tokens={args.max_new_tokens}: expected at least 1.')
  if not (pathlib.Path(args.hf) / 'config.json').exists():
    raise UserError(f'--hf={args.hf}: no config.json; write the folder with '
                    'python -m experiments.export.')
  return args


def _loaded_by_transformers(folder):
  try:
    import torch
    import transformers
  except ImportError as error:
    raise UserError(
        f'{error}: this comparison needs pip install torch transformers.'
    ) from None
  torch.set_grad_enabled(False)
  model = transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=torch.float32, trust_remote_code=False)
  return torch, model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def compare(saved, folder, asked, max_new_tokens, source='the questions'):
  """One row per question: answers, same tokens, max |Δlogit|."""
  ready = saved.for_compute('float32', unroll=False)
  config, params, chat = ready.config, ready.params, ready.chat
  settings = questions_lib.AnswerConfig(
      saved.lineage.get('answer_prompt', '{question}'), max_new_tokens)
  questions_lib.check_scorable(
      chat, asked, source, settings, config.max_context)
  torch, theirs, tokenizer = _loaded_by_transformers(folder)
  answers = questions_lib.greedy_answers(ready, asked, settings)
  logits = jax.jit(transformer.logits, static_argnums=0)
  rows = []
  for question, ours in zip(asked, answers, strict=True):
    message = settings.prompt.format(question=question.question)
    ids = chat.closed_book(message)
    # The same text: a template may ask for today's date, or begin a thought.
    their_ids = tokenizer.encode(saved.tokenizer.render_chat(
        [{'role': 'user', 'content': message}]), add_special_tokens=False)
    generated = theirs.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)),
        max_new_tokens=max_new_tokens, do_sample=False,
        eos_token_id=list(chat.tokenizer.stop_ids))[0].tolist()
    answer = tokenizer.decode(generated[len(ids):], skip_special_tokens=True)
    have = np.asarray(logits(config, params, np.array([generated])))
    want = theirs(torch.tensor([generated])).logits.numpy()
    rows.append({
        'question': question.question, 'answer': ours,
        'answer_by_transformers': answer.strip(),
        'same_prompt_tokens': list(their_ids) == ids,
        'max_abs_logit': float(np.abs(want).max()),
        'max_abs_logit_difference': float(np.abs(have - want).max())})
  return rows


def main(argv):
  args = _parsed(argv)
  start = time.perf_counter()
  asked = documents.read_questions(args.questions)
  saved = checkpoints.load_model(_main.model_folder(args.checkpoint))
  rows = compare(
      saved, args.hf, asked, args.max_new_tokens, args.questions)
  table = rich.table.Table('question', 'here', 'in transformers', '|Δlogit|')
  for row in rows:
    table.add_row(row['question'], row['answer'], row['answer_by_transformers'],
                  f'{row["max_abs_logit_difference"]:.1e}')
  rich.console.Console().print(table)
  same = [r['answer'] == r['answer_by_transformers']
          and r['same_prompt_tokens'] for r in rows]
  worst = max(r['max_abs_logit_difference'] for r in rows)
  share = worst / max(r['max_abs_logit'] for r in rows)
  print(f'{sum(same)} of {len(same)} answers are the same; largest difference '
        f'of a logit {worst:.1e}, {share:.1e} of the largest logit; '
        f'{time.perf_counter() - start:.0f} s')
  if args.out is not None:
    files.write(args.out, json.dumps(rows, indent=1) + '\n')
  return 0 if all(same) and share <= args.tolerance else 1
