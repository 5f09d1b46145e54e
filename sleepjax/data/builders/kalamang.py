"""Kalamang: a language of some 200 speakers, as linguists have written it down.

What models read of it elsewhere is next to nothing, so what one says in it was
learnt from here. The benchmark MTOB (Tanzer et al. 2023) is made from the same
sources; its authors ask that its own test sentences are not published again,
and they are not in here.
"""

import pathlib

import tensorflow_datasets as tfds

from sleepjax.data.builders.from_files import (
    About,
    FromFiles,
    Origin,
    read_csv,
)

_DICTIONARY_URL = ('https://raw.githubusercontent.com/dictionaria/kalamang/'
                   '6b6c787bba9b0193f467c3b40e812e9fc4a7a7b7/cldf/')
_STORIES_URL = ('https://raw.githubusercontent.com/Multi-CAST/kalamang/'
                '16083961936646d89e380dce7955628dfebc266f/cldf/')
_ENTRIES, _SENSES, _EXAMPLES = (
    Origin(f'kalamang/dictionary_{name}.csv', f'{_DICTIONARY_URL}{name}.csv')
    for name in ('entries', 'senses', 'examples'))
_UTTERANCES = Origin('kalamang/multicast_utterances.csv',
                     f'{_STORIES_URL}utterances.csv')
_FIELDS = {
    'dictionary': ('kalamang', 'english', 'part_of_speech'),
    'sentences': ('kalamang', 'english'),
    'stories': ('kalamang', 'english', 'story')}

# Some translations into English and into Malay stand in each other's column.
_ENGLISH = frozenset(
    'the a an is are was were be to of in on and he she they i you we his her '
    'my your their our it that this these not for with from at have has had '
    "don't there when who what will because go goes went".split())
_MALAY = frozenset(
    'dia itu ini di ke yang dan saya kita kamu dorang dong kau mau ada su suda '
    'sudah pu tidak tra deng dengan sama orang kalau dari pi untuk lagi baru '
    'begini begitu satu kasih bilang tapi jadi mereka juga sampai'.split())


class Kalamang(FromFiles):
  """Words and sentences with their translation into English."""

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(
          name='sentences', description="The dictionary's example sentences."),
      tfds.core.BuilderConfig(
          name='dictionary', description='Headwords with all their senses.'),
      tfds.core.BuilderConfig(
          name='stories', description='Utterances of six told stories.')]
  ABOUT = About(
      description='Kalamang, a Papuan language of Indonesia: a dictionary, its '
                  'example sentences, and told stories, all with English.',
      homepage='https://dictionaria.clld.org/contributions/kalamang',
      license='CC BY 4.0',
      citation="""@article{visser2020kalamang,
  title={Kalamang dictionary},
  author={Visser, Eline},
  journal={Dictionaria},
  number={13},
  year={2020}
}
@misc{visser2021multicast,
  title={Multi-CAST Kalamang},
  author={Visser, Eline},
  howpublished={Multi-CAST: Multilingual corpus of annotated spoken texts},
  year={2021}
}""")

  def features(self):
    return {name: tfds.features.Text()
            for name in _FIELDS[self.builder_config.name]}

  def origins(self):
    return {'train': {
        'sentences': (_EXAMPLES,), 'dictionary': (_ENTRIES, _SENSES),
        'stories': (_UTTERANCES,)}[self.builder_config.name]}

  def rows(self, split, *paths):
    return {'sentences': _sentences, 'dictionary': _dictionary,
            'stories': _stories}[self.builder_config.name](*paths)


def english(first: str, second: str) -> str:
  """Of two translations the English one, by its common words; else the first.
  """
  def score(text):
    words = [word.strip('.,;:!?[]()"\'') for word in text.lower().split()]
    return sum((word in _ENGLISH) - (word in _MALAY) for word in words)
  return second if score(second) > score(first) else first


def _sentences(path: pathlib.Path):
  for sentence, *translations in read_csv(
      path, ('Primary_Text', 'Translated_Text', 'alt_translation1')):
    yield {'kalamang': sentence, 'english': english(*translations)}


def _dictionary(entries_path: pathlib.Path, senses_path: pathlib.Path):
  senses = {}
  for entry, meaning in read_csv(senses_path, ('Entry_ID', 'Description')):
    senses.setdefault(entry, []).append(meaning)
  for entry, word, kind in read_csv(
      entries_path, ('ID', 'Headword', 'Part_Of_Speech')):
    if entry in senses:
      yield {'kalamang': word, 'english': '; '.join(senses[entry]),
             'part_of_speech': kind}


def _stories(path: pathlib.Path):
  for said, translation, story in read_csv(
      path, ('Primary_Text', 'Translated_Text', 'Text_ID')):
    yield {'kalamang': said, 'english': translation, 'story': story}
