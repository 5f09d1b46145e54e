"""The judges of meaning that a configuration can name."""

from sleepjax.data.prompts import ChatPrompts
from sleepjax.errors import UserError
from sleepjax.models.config import ModelConfig
from sleepjax.seeding import judges, seed, sentence_encoder

KINDS = ('content_overlap', 'answer_exact', 'answer_contains', 'answer_f1',
         'embedding', 'yes_no')


def make_judge(kind: str, config: ModelConfig, params, chat: ChatPrompts,
               yes_no: judges.YesNoConfig | None = None) -> judges.Judge:
  """The judge of that name with its default threshold.

  Args:
    kind: one of `KINDS`.
    config, params: the frozen model that 'yes_no' asks.
    chat: its prompt format.
    yes_no: how it is asked; None for the defaults.

  Raises:
    UserError: there is no such judge, or what it needs is not installed.
  """
  if kind not in KINDS:
    raise UserError(
        f'judge={kind!r}: expected one of {", ".join(KINDS)}.')
  if kind == 'embedding':
    return judges.EmbeddingJudge(sentence_encoder.load_sentence_encoder())
  if kind == 'yes_no':
    return judges.YesNoJudge(
        config, params, chat, yes_no or judges.YesNoConfig())
  if kind == 'content_overlap':
    return judges.ContentOverlapJudge(
        chat.tokenizer, seed.content_free_tokens(chat.tokenizer))
  return judges.AnswerJudge(kind.removeprefix('answer_'))
