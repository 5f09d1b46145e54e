"""Ways to learn languages that come one after another.

Those of `configs/class_incremental/arms.py`, on translations in place of
labels: all take as many updates, see as many new pairs in each, and have the
same stored pairs of earlier nights.

* `sleep`: a new slot every night learns D from the model that has the book of
  the language in view, on the pairs alone; stored pairs of earlier nights are
  retained, and translating by other books in view is rehearsed. Imitation is
  off: it compares rollouts, of which three words give little.
* `no_store`, `no_rehearsal`: the same without retention, or without rehearsal.
  `no_growth`: the same in all layers.
* `sft`: all layers learn the translations as targets. `replay`: and stored
  pairs again, as many in an update as new ones. `ewc`: what stored pairs need
  is held by elastic weight consolidation.

`in_context`, the last book in view, and `base`, none, change no weight
(`sleepjax.tasks.translation`).
"""

from configs.class_incremental.arms import ARMS, with_arm

__all__ = ['ARMS', 'with_arm']
