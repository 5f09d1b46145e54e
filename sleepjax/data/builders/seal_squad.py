"""SQuAD 1.1 as SEAL publishes it, and what SEAL's models wrote about it."""

import tensorflow_datasets as tfds

from sleepjax.data import sources
from sleepjax.data.builders.from_files import About, FromFiles, Origin
from sleepjax.errors import UserError

_URL = ('https://raw.githubusercontent.com/Continual-Intelligence/SEAL/'
        '4cb1e7d4350c62403daee8c6723e6184886cb304/knowledge-incorporation/data/'
        )
_PASSAGES = {
    'train': Origin('squad/seal_train_passages.jsonl',
                    f'{_URL}squad_train.json'),
    'validation': Origin('squad/squad_val.json', f'{_URL}squad_val.json')}
_SELF_EDITS = {
    name: Origin(f'squad/{folder}_{name}.json',
                 f'{_URL}synthetic_data/{folder}/{name}.json')
    for folder, name in (
        ('eval', 'base_val'), ('eval', 'iter2_val'), ('eval', 'naive_val'),
        ('train', 'iter0_train'), ('train', 'iter1_train'))}


class SealSquad(FromFiles):
  """Passages with their questions; see `sleepjax.data.sources.squad_seal`.

  The local file of `train` has the passages that SEAL was trained on; what is
  downloaded, all of SQuAD's.
  """

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(
          name='passages', description='Passages with one answer a question.'),
      tfds.core.BuilderConfig(
          name='self_edits', description='Passages with what Qwen2.5-7B wrote '
          'to learn them: untrained (base_val, iter0_train), after a round of '
          'training (iter1_train) and after two (iter2_val); naive_val has '
          'nothing written.')]
  ABOUT = About(
      description='SQuAD 1.1 grouped by passage, and the implications that '
                  'models of SEAL drew from its passages.',
      homepage='https://github.com/Continual-Intelligence/SEAL',
      license='CC BY-SA 4.0 (SQuAD), MIT (SEAL)',
      citation="""@article{rajpurkar2016squad,
  title={{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  author={Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang,
          Percy},
  journal={arXiv preprint arXiv:1606.05250},
  year={2016}
}
@article{zweiger2025self,
  title={Self-Adapting Language Models},
  author={Zweiger, Adam and Pari, Jyothish and Guo, Han and Aky{\\"u}rek, Ekin
          and Kim, Yoon and Agrawal, Pulkit},
  journal={arXiv preprint arXiv:2506.10943},
  year={2025}
}""")

  def features(self):
    text = tfds.features.Text
    fields = {'title': text(), 'context': text(),
              'questions': tfds.features.Sequence(
                  {'question': text(), 'answer': text()})}
    if self.builder_config.name == 'self_edits':
      fields |= {'prompt': text(),
                 'completions': tfds.features.Sequence(text())}
    return fields

  def origins(self):
    files = (_PASSAGES if self.builder_config.name == 'passages'
             else _SELF_EDITS)
    return {split: (origin,) for split, origin in files.items()}

  def rows(self, split, path):
    for number, item in enumerate(sources.read_items(path)):
      where = f'{path}, passage {number}'
      passage = sources.passage(item, where)
      row = {'title': passage.title, 'context': passage.context,
             'questions': [{'question': question, 'answer': answer}
                           for question, answer in passage.questions]}
      if self.builder_config.name == 'self_edits':
        row |= _written(item, where)
      yield row


def _written(item, where):
  prompt, completions = item.get('prompt', ''), item.get('completions', [])
  if not isinstance(prompt, str) or not isinstance(completions, list) or any(
      not isinstance(text, str) for text in completions):
    raise UserError(f'{where}: "prompt" should be a string and "completions" a '
                    'list of strings.')
  return {'prompt': prompt, 'completions': completions}
