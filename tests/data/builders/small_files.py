"""Files of data sets in small, written by hand."""

import io
import json
import tarfile

from sleepjax.data.builders import arc_agi1

INTENTS = {'train': [['what is my balance', 'balance'],
                     ['is it going to rain', 'weather']],
           'val': [['will it snow', 'weather']], 'test': [['rain?', 'weather']],
           'oos_train': [['how tall am i', 'oos']], 'oos_val': [['who', 'oos']],
           'oos_test': [['why', 'oos']]}
DOMAINS = {'banking': ['balance'], 'travel': ['weather']}
PASSAGE = {'title': 'Tea', 'context': 'Tea is brewed\nfrom leaves.',
           'questions': [{'question': 'From what?', 'answer': 'leaves'},
                         {'question': 'What is?', 'answer': 'Tea'}]}
TASK = {'train': [{'input': [[1, 0], [0, 9]], 'output': [[1]]}],
        'test': [{'input': [[3]], 'output': [[3, 3, 3]]}]}


def tar(files, mode):
  stream = io.BytesIO()
  with tarfile.open(fileobj=stream, mode=mode) as archive:
    for name, content in files.items():
      entry = tarfile.TarInfo(name)
      entry.size = len(content)
      archive.addfile(entry, io.BytesIO(content))
  return stream.getvalue()


def files():
  """Every file of every builder, by its local name."""
  as_json = lambda value: json.dumps(value).encode()
  challenges = {'a': TASK | {'test': [{'input': [[3]]}]}}
  seal = {f'arc_agi1/seal/{pattern.format(kind)}': as_json(content)
          for pattern in arc_agi1._SEAL_FILES.values()
          for kind, content in (('challenges', challenges),
                                ('solutions', {'a': [[[3, 3, 3]]]}))}
  edits = [PASSAGE | {'prompt': 'List.', 'completions': ['One.', 'Two.']}]
  return {
      'clinc150/data_full.json': as_json(INTENTS),
      'clinc150/data_small.json': as_json(
          INTENTS | {'train': INTENTS['train'][1:]}),
      'clinc150/domains.json': as_json(DOMAINS),
      'banking77/train.csv': b'text,category\r\n"Where, is my\ncard?",card\r\n',
      'banking77/test.csv': b'text,category\nA fee?,fee\n',
      'dbpedia14/dbpedia_csv.tgz': tar({
          'dbpedia_csv/classes.txt': b'Company\nAnimal\n',
          'dbpedia_csv/train.csv': b'2,"Cat"," A ""cat"", an animal."\n',
          'dbpedia_csv/test.csv': b'1,"Firm"," A firm."\n'}, 'w:gz'),
      'dbpedia14_10k/val.csv': b'"10","A magazine."\n"14","A film."\n',
      'dbpedia14_10k/test.csv': b'"1","A painter."\n',
      'arc_agi1/arc_agi1_data.tar.xz': tar({
          'data/training/b.json': as_json(TASK),
          'data/training/a.json': as_json(TASK),
          'data/evaluation/c.json': as_json(TASK),
          'apps/training/d.json': b'not a task'}, 'w:xz'), **seal,
      'kalamang/dictionary_entries.csv':
          b'ID,Headword,Part_Of_Speech\ns,sor,Noun\nw,war,Verb\nz,zz,Noun\n',
      'kalamang/dictionary_senses.csv':
          b'ID,Description,Entry_ID\n1,fish,s\n2,"meat, of fish",s\n3,go,w\n',
      'kalamang/dictionary_examples.csv':
          b'ID,Primary_Text,Translated_Text,alt_translation1\n'
          b'1,Sor wa me he lauk.,This fish smells.,Ikan ini su bau.\n'
          b'2,Ma war.,Dia pi pancing.,He went fishing.\n',
      'kalamang/multicast_utterances.csv':
          b'Text_ID,Primary_Text,Translated_Text\nkasuari,e mama,Hey mama\n',
      'lambada/lambada_test.jsonl':
          b'{"text": "Tea is\\nhot"}\n{"text": "a b"}',
      'squad/squad_val.json': as_json([PASSAGE]),
      'squad/seal_train_passages.jsonl': as_json(PASSAGE) + b'\n',
      **{f'squad/{name}.json': as_json(edits) for name in (
          'eval_base_val', 'eval_iter2_val', 'eval_naive_val',
          'train_iter0_train', 'train_iter1_train')}}
