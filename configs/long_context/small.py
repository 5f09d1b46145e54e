"""Do more memory levels remember further back? Eight facts in 16k tokens.

  python -m experiments.long_context --config=configs/long_context/small.py \
      --workdir=DIR

The tiny world reads 128 windows of 128 tokens: what is long known, and one new
fact in every sixteen windows. With an empty context it is asked for a fact 1,
2, 4 … 64 windows after it was told, and at the end for all. Arms:

* `sleep_1` … `sleep_4`: so many MLP levels, the slowest with a chunk of 2,048
  tokens. What the sender knows and the student does not is asked for while the
  sender holds it, and handed over;
* `sleep_1_512`, `sleep_3_512`: the slowest level's chunk is 512 tokens;
* `tight_1`, `tight_3`: two slots a level in place of one for every hand-over
  that may come, so that the oldest merge;
* `wake`: a level that steps after every window by Eq. 2 alone, from initial
  weights that `configs/pretrain/fast_level.py` has trained; nothing is handed
  over. `wake_newborn`: the same from a newborn level at the best rate. Neither
  is among the arms of the command as it stands: one step after a window is
  measured by `experiments.pretrain_level`, and a second one diverges;
* `nothing`: nothing is learnt;
* upper bounds: `every_window`, whose own MLP has a slot for every window that
  tells anything and never updates or merges; `window`, the last window in view,
  and `truncated`, as many of the last as the context holds; `bm25`, the window
  in view that BM25 finds for the question.

Stop rules: wake alone answers less than 70 % one window back, and the fast
weights are of no use; the median hand-over closes less than 70 % of its D on
prompts and beginnings that were not trained in it, and hand-overs are.

Success: `sleep_3` − `sleep_1` is at least 10 points at the end, of facts told
more than four windows before, intervals apart.
"""

from ml_collections import ConfigDict

from sleepjax.data import world


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.model = 'tiny-world'
  c.read = 'sleep'
  c.fast = False  # Whether the fastest level has initial weights of its own:
  c.fast_level = ''  # the folder of experiments.pretrain_level.
  c.rehearsal_texts = 8  # Without, what is in view is read less and less.
  c.stream = ConfigDict({'windows': 128, 'window': 128, 'facts': 8,
                         'distances': (1, 2, 4, 8, 16, 32, 64)})

  q = c.asking = ConfigDict()
  q.dreams = ConfigDict(dict(
      question_prompt=world.ASK_ABOUT, openings=('',), recalls_per_sentence=2,
      question_temperature=1.0, prompt_tokens=16, completion_tokens=12,
      batch_rows=64))
  q.recall_prompt = world.RECALL
  q.memory_prompt = world.ASK
  q.scouted = 3  # New facts came first of some twenty sentences.
  q.scouts = 3
  q.least_gain = 1.0  # Nats; of a value that is not known, log 20 = 3.
  q.sentences = 4
  q.questions = 16
  q.memories = 96
  q.earlier = 64

  k = c.continuum = ConfigDict()
  k.slot_rank = 8
  k.slots = ()
  k.level_dims = ()
  k.sleep_steps = ()
  k.sleep_rates = ()
  w = k.wake = ConfigDict()
  w.chunks = (128, 2048)
  w.learning_rates = (0.0,)
  w.optimizer = 'sgd'
  w.clip_norm = 1.0
  s = k.sleep = ConfigDict()
  s.max_retention_divergence = 1.0
  s.seeding = ConfigDict(dict(
      steps=40, rows=8, on_policy=0.0, group_size=1, alpha=1.0, rehearsal=1.0,
      rehearsal_rows=4, rehearsal_every=4, retention=1.0, retention_rows=16,
      learning_rate=1e-2))

  c.seeds = (0, 1, 2, 3, 4)
  levels = lambda *chunks: {'continuum': {
      'level_dims': (48,) * (len(chunks) - 1),
      'wake': {'chunks': (128, *chunks),
               'learning_rates': (0.0,) * len(chunks)}}}
  awake = {'continuum': {
      'level_dims': (96,), 'wake': {
          'chunks': (128, 128, 2048), 'learning_rates': (20.0, 0.0),
          'clip_norm': 1e6}}}
  c.changes = ConfigDict(dict(
      sleep_1=levels(2048),
      sleep_2=levels(512, 2048),
      sleep_3=levels(256, 1024, 2048),
      sleep_4=levels(256, 512, 1024, 2048),
      sleep_1_512=levels(512),
      sleep_3_512=levels(128, 256, 512),
      tight_1={'continuum': {'slots': (2,)}},
      tight_3={'continuum': {
          **levels(256, 1024, 2048)['continuum'], 'slots': (2, 2, 2)}},
      wake={'read': 'wake', 'fast': True, **awake},
      wake_newborn={'read': 'wake', **awake},
      nothing={'read': 'nothing'},
      every_window={'continuum': {'slots': (128,)}},
      window={'read': 'window'},
      truncated={'read': 'truncated'},
      bm25={'read': 'bm25'}))
  c.arms = ('sleep_1', 'sleep_3', 'nothing', 'window', 'bm25', 'tight_1',
            'tight_3', 'sleep_2', 'sleep_4', 'sleep_1_512', 'sleep_3_512',
            'every_window', 'truncated')
  return c
