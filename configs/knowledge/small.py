r"""Knowledge incorporation: SmolLM2-135M-Instruct, afresh for every passage.

  python -m experiments.knowledge_incorporation \
      --config=configs/knowledge/small.py --list=know --passages=20 \
      --workdir=DIR

The paper's Table 3 at n = 1, on SQuAD passages of a frozen list, asked closed
book. Arms stand in `arms.py` beside this file, the night in
configs/consolidate/facts.py.

Question. Does a night make a model know what a passage says, and more than
fine-tuning on the same words with the same replay does?

Criterion, written before any run on a list. Of `sleep`, over all questions:
  knows     closed book at least 80 % of the right answers that the same prompt
            gets in view, and at least 25 % wherever in view is 32 % or more
  choice    20 points above before; margin not below before
  coverage  at least 80 % of the sentences have a verified question
  harm      loss of controls within 0.05 nats a token, right answers to them
            within one; drift of perplexity at most 1 %; loss of controls with
            their own texts in view within 0.05 nats
  rivals    more right answers than the best arm `sft_`, McNemar p < 0.05, with
            controls answered at most a point worse than before; else the
            difference is not shown and stands with its interval
All other arms stand beside `sleep` in pairs; p adjusted over arms (Holm), "no
difference" only by equivalence. About a hundred questions show 12 against 24 %
right (p near 0.04) and not much less.

Stop rule. After five passages or more, if the passage in view brings less than
ten points more right answers than nothing does, the model cannot read these
questions: the run ends, and nothing is said of the arms.

Passages 0 to 2 are spent: they were asked before hedges and ranges ("around
$200 million", "100 to 300 miles") became parts of what is learnt, for which
sixty passages of `train` were looked at (207 of 326 answers stand in a span
there, 194 before), and before questions by rule alone were taken (facts.py).
Passages 3 to 7 have rows, of settings as they are (docs/results/knowledge.md):
3 of 28 right, 7 in view. Where settings change, the rest of the list is as new:
--first=8 --passages=12.

Rates are chosen on passages of `train` from number 40 on, by right answers less
the harm to controls, among three values an arm, a factor of about three apart:
  --list=train --first=40 --config.arms='("sft_low_rank", "base")' \
      --config.rates.sft_low_rank=3e-3 --shared=FOLDER
each in a folder of its own, with one for what all of them share. `sleep`'s was
chosen so (facts.py has the table) and `passage_sft`'s is SEAL's; the others are
starting points, not yet chosen.
"""

from ml_collections import ConfigDict

from configs.consolidate import facts


def get_config() -> ConfigDict:
  c = facts.get_config()
  c.sleep.context_tokens = 768  # No passage of the lists takes two nights.
  c.sleep.unroll = False  # 5 GiB and not 9, and programs compile sooner.
  c.exam.drift = 'wikitext2'
  c.arms = ('sleep', 'base', 'in_view', 'bm25', 'sft_low_rank',
            'sft_all_layers', 'sft_no_replay', 'passage_sft', 'sdft')
  c.rates = ConfigDict({
      'sleep': c.sleep.seeding.learning_rate, 'sft_low_rank': 1e-3,
      'sft_all_layers': 1e-4, 'sft_no_replay': 1e-3, 'passage_sft': 1e-3,
      'sdft': 3e-4})
  return c
