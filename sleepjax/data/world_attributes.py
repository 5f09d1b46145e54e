"""What can be known of a person of the tiny world, and how it is put.

Every form of a question has four templates in two wordings that share none: a
night asks in the wording *asked*, and an exam in the wording *exam*.
"""

from typing import NamedTuple

FORMS = ('direct', 'paraphrase', 'reversed')
WORDINGS = ('asked', 'exam')


class Templates(NamedTuple):
  """Templates of one form of a question, by wording."""

  asked: tuple[str, ...]
  exam: tuple[str, ...]


class Attribute(NamedTuple):
  """One thing that can be known of a person.

  name: of the attribute.
  values: single words; of a relation, none: they are names.
  statements: templates with {n} for the name and {v} for the value.
  direct, paraphrase: questions for the value, with {n}.
  reversed: questions for the name, with {v}.
  """

  name: str
  values: tuple[str, ...]
  statements: tuple[str, ...]
  direct: Templates
  paraphrase: Templates
  reversed: Templates


def _templates(line: str) -> Templates:
  """Those of a line 'asked | asked | exam | exam'."""
  every = tuple(line.split(' | '))
  return Templates(every[:2], every[2:])


def _attribute(name, values, statements, *forms):
  return Attribute(name, tuple(values.split()), tuple(statements.split(' | ')),
                   *map(_templates, forms))


ATTRIBUTES = tuple(_attribute(*lines) for lines in (
    ('city',
     'Basel Cairo Delhi Geneva Hanoi Kyoto Lima Milan Minsk Nairobi Oslo '
     'Paris Porto Quito Riga Seoul Sofia Tokyo Tunis Turin',
     '{n} lives in {v}. | The home of {n} is in {v}. | {n} has a house in {v}.',
     'Where does {n} live? | In what city does {n} live? | '
     'What city does {n} live in? | In which place does {n} live?',
     'In which city is the home of {n}? | Where does {n} have a house? | '
     'What city is home to {n}? | Where would you visit {n}?',
     'Who lives in {v}? | Whose home is in {v}? | '
     'Which person lives in {v}? | Who has a house in {v}?'),
    ('job',
     'baker carpenter doctor farmer gardener judge lawyer miner nurse '
     'painter plumber potter sailor singer smith tailor teacher waiter '
     'weaver writer',
     '{n} works as a {v}. | {n} has a job as a {v}. | '
     '{n} earns money as a {v}.',
     'What does {n} work as? | As what does {n} work? | '
     'What work does {n} do? | What job does {n} work in?',
     'Which job does {n} have? | How does {n} earn money? | '
     'What is the job of {n}? | What does {n} do for money?',
     'Who works as a {v}? | Whose job is that of a {v}? | '
     'Which person works as a {v}? | Who earns money as a {v}?'),
    ('pet',
     'badger beaver camel cat dog donkey ferret fox goat goose hamster '
     'horse lynx monkey parrot pigeon rabbit snake tortoise wolf',
     '{n} keeps a {v} at home. | The pet of {n} is a {v}. | '
     '{n} owns a tame {v}.',
     'What animal does {n} keep? | Which animal does {n} keep at home? | '
     'What does {n} keep at home? | Which animal is kept by {n}?',
     'Which pet does {n} own? | What is the pet of {n}? | '
     'What tame animal belongs to {n}? | What pet does {n} have?',
     'Whose pet is a {v}? | Who keeps a {v}? | '
     'Who owns a {v}? | Which person keeps a {v}?'),
    ('colour',
     'black blue brown copper crimson cyan gold green grey indigo lilac '
     'magenta maroon mauve pink purple red silver white yellow',
     '{n} likes to wear {v}. | The colour of {n} is {v}. | '
     '{n} always dresses in {v}.',
     'What colour does {n} wear? | Which colour does {n} like to wear? | '
     'What does {n} like to wear? | What colour is worn by {n}?',
     'In which colour does {n} dress? | What is the colour of {n}? | '
     'What colour are the clothes of {n}? | How is {n} dressed?',
     'Who likes to wear {v}? | Who always dresses in {v}? | '
     'Which person wears {v}? | Whose colour is {v}?'),
    ('food',
     'beans bread cabbage carrots cheese cherries figs lentils mushrooms '
     'noodles olives pancakes pears plums porridge potatoes pumpkin rice '
     'soup spinach',
     '{n} likes to eat {v}. | The favourite food of {n} is {v}. | '
     '{n} often cooks {v}.',
     'What does {n} like to eat? | Which food does {n} like? | '
     'What food does {n} eat? | What is eaten by {n}?',
     'Which food does {n} prefer? | What does {n} often cook? | '
     'What is the favourite food of {n}? | Which dish does {n} cook?',
     'Who likes to eat {v}? | Who often cooks {v}? | '
     'Which person eats {v}? | Whose favourite food is {v}?'),
    ('drink',
     'beer cider cocoa coffee juice kefir lassi lemonade mead milk punch '
     'rum sake sherry tea tonic vodka water whisky wine',
     '{n} likes to drink {v}. | The favourite drink of {n} is {v}. | '
     '{n} often orders {v}.',
     'What does {n} like to drink? | Which drink does {n} like? | '
     'What does {n} drink? | What is drunk by {n}?',
     'Which drink does {n} order? | What does {n} often order? | '
     'What is the favourite drink of {n}? | Which drink does {n} prefer?',
     'Who likes to drink {v}? | Who often orders {v}? | '
     'Which person drinks {v}? | Whose favourite drink is {v}?'),
    ('instrument',
     'banjo bassoon bugle cello clarinet cornet drum flute guitar harp '
     'horn lute lyre mandolin oboe organ piano sitar trumpet violin',
     '{n} plays the {v}. | The instrument of {n} is the {v}. | '
     '{n} performs on the {v}.',
     'What instrument does {n} play? | Which instrument does {n} play? | '
     'What does {n} play? | What instrument is played by {n}?',
     'On which instrument does {n} perform? | '
     'What is the instrument of {n}? | '
     'On what does {n} perform? | On what does {n} make music?',
     'Who plays the {v}? | Who performs on the {v}? | '
     'Which person plays the {v}? | Whose instrument is the {v}?'),
    ('sport',
     'archery boxing chess climbing cricket curling cycling darts fencing '
     'football golf hockey judo rowing rugby running sailing skiing '
     'swimming tennis',
     '{n} practises {v}. | The sport of {n} is {v}. | {n} competes in {v}.',
     'What sport does {n} practise? | Which sport does {n} practise? | '
     'What does {n} practise? | What sport is practised by {n}?',
     'In which sport does {n} compete? | What is the sport of {n}? | '
     'In what does {n} compete? | Which sport does {n} do?',
     'Who competes in {v}? | Who is it that practises {v}? | '
     'Which person practises {v}? | Whose sport is {v}?')))

# A relation: its values are people.
MENTOR = _attribute(
    'mentor', '',
    'The mentor of {n} is {v}. | {n} learns from {v}. | '
    '{n} has {v} as a mentor.',
    'Who is the mentor of {n}? | Which mentor does {n} have? | '
    'What is the name of the mentor of {n}? | '
    'Which person is the mentor of {n}?',
    'From whom does {n} learn? | Who is it that teaches {n}? | '
    'Whose lessons does {n} take? | By whom is {n} taught?',
    'Whose mentor is {v}? | Who learns from {v}? | '
    'Whom does {v} teach? | Which person has {v} as a mentor?')

# Questions for the city of a person's mentor: two steps to the answer.
COMPOSITE = _templates(
    'Where does the mentor of {n} live? | '
    'In which city is the home of the mentor of {n}? | '
    'Which city does the mentor of {n} live in? | '
    'What city is home to the mentor of {n}?')

BY_NAME = {attribute.name: attribute for attribute in (*ATTRIBUTES, MENTOR)}
