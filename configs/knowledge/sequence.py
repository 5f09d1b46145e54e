r"""SEAL's sequence: eight passages one after another, a night after each.

  python -m experiments.sequence --config=configs/knowledge/sequence.py \
      --workdir=DIR

SmolLM2-135M-Instruct reads eight SQuAD passages of the frozen list *seq*, the
next one after the night of the last, as in SEAL's continual self-edits (Zweiger
et al. 2025, arXiv 2506.10943), which the paper does not report. After every
night the questions about all eight are asked closed book, those to come
included, so that what is guessed is known. A night is as in `small.py` beside
this file, and arms stand in `arms.py`: all of them learn from the same words,
which the untouched model has written with the passage in view, and rehearse and
retain what it wrote of other things. What is stored of earlier passages is the
same for all: 64 of the prompts learnt from, with the answers that were learnt.
The model before the night says how likely each is, and so it should stay. An
arm without it is `no_retention`. LoRA and all layers are merged after every
night, as there; a sleep grows a slot more, `static_slot` trains the first one
on.

Layers are scanned (`unroll`): a night takes longer, but 6.9 GB at its peak,
where unrolled ones took 7.7 to 9.6 in nights about single passages.

Question. Does a model that sleeps after every passage know more of all eight in
the end than one of the same store that is fine-tuned on the same words, or has
one slot for all, and does it forget less?

Criterion, written before any run. Over three sequences, for each of
`sft_all_layers`, `static_slot` and `sft_low_rank`: `sleep` has more right
answers after the last night, and has forgotten fewer (right on their own or a
later night, wrong in the end), both differences with 95 % intervals that leave
out 0, by resampling passages with all of their questions; paired by question
and sequence. Else it is not shown; *refuted* if an arm has more right answers
with an interval that leaves out 0. McNemar's p stands beside, adjusted for
three arms (Holm). An arm whose rate was not chosen cannot lose: until its rate
is chosen on `train`, what is said of it is *not shown* at best.

The matrix is of *knows*: A[i, j] is the share of right answers to the questions
about passage j after night i. Reported are average accuracy (the last row), own
night (the diagonal), forgetting as max − last, of Chaudhry et al. 2018, and as
first − last, backward transfer (last − first, Lopez-Paz and Ranzato 2017),
forward transfer less what the untrained model guesses of the same passage, and,
after every night, loss of control questions and drift of perplexity.

Stop rule, checked on all questions of the sequences so far before a sequence
begins: with its passage in view an untouched model has at least ten points more
right answers than without. Else the run ends, and nothing is said of the arms.

Power. Three sequences have about a hundred questions, which show 12 against
24 % right and not much less.

Rates. `sleep`'s is that of configs/consolidate/facts.py, for single passages;
`static_slot` and `no_retention` have the same; the others' are starting points.
They are chosen on sequences of `train` from number 5 on (passages 40 to 47), by
right answers in the end among three values a factor of about three apart:
  --list=train --config.sequences='(5,)' --config.arms='("sft_low_rank",)' \
      --config.rates.sft_low_rank=3e-3
"""

from ml_collections import ConfigDict

from configs.knowledge import small


def get_config() -> ConfigDict:
  c = small.get_config()
  c.sequences = (0, 1, 2)  # Number 1 is of passages 8 to 15 of the list.
  c.passages = 8
  c.arms = ('sleep', 'sft_all_layers', 'static_slot', 'no_retention',
            'sft_low_rank')
  sleep = c.rates.sleep
  c.rates = ConfigDict({
      'sleep': sleep, 'static_slot': sleep, 'no_retention': sleep,
      'sft_all_layers': c.rates.sft_all_layers,
      'sft_low_rank': c.rates.sft_low_rank})
  return c
