"""One document, from reading to report: what the experiments here share."""

import dataclasses
import hashlib
import json
import pathlib

import jax
import numpy as np

from experiments import _host_pages
from sleepjax import seeds
from sleepjax.data import documents, sources
from sleepjax.data.chunks import wake_chunks
from sleepjax.data.documents import Document, Question
from sleepjax.data.prompts import ChatPrompts
from sleepjax.dreaming.tasks import Memory
from sleepjax.errors import UserError, check_least
from sleepjax.evals import report as report_lib
from sleepjax.evals import sleep_scores
from sleepjax.evals.questions import AnswerConfig
from sleepjax.growth import slots
from sleepjax.lifecycle import cycle
from sleepjax.mesh import distributed, sharding
from sleepjax.model import Model
from sleepjax.models import transformer
from sleepjax.runs import folder as folder_lib
from sleepjax.runs.nights import remembered
from sleepjax.runs.session import Saving, params_sha256
from sleepjax.sampling import context
from sleepjax.training import background, checkpoints, kept, preemption
from sleepjax.training.metrics import MetricsWriter, read_metrics
from sleepjax.training.observer import Observer
from sleepjax.training.phase_saves import PhaseSaves
from sleepjax.training.progress import Display
from sleepjax.writing import dreams

_GENERATED_QUESTIONS = 12  # Written per chunk where the user gives none.
_REMEMBERED = 64  # Prompts about earlier chunks that each sleep retains.


@dataclasses.dataclass(frozen=True)
class ExamConfig:
  """What a run is scored on besides its own questions.

  drift: 'wikitext2' (validation text) or 'bundled'.
  drift_tokens: how much of it.
  max_new_tokens, batch_rows: of greedy answers.
  """

  drift: str = 'bundled'
  drift_tokens: int = 2048
  max_new_tokens: int = 32
  batch_rows: int = 8

  def __post_init__(self):
    if self.drift not in ('wikitext2', 'bundled'):
      raise ValueError(
          f"drift={self.drift!r} must be 'wikitext2' or 'bundled'.")
    # A token is predicted from those before it.
    check_least(self, drift_tokens=2, max_new_tokens=1, batch_rows=1)


def bundled_controls():
  """Documents about invented things, with questions: nobody has read them."""
  return [(documents.bundled_document(name), documents.bundled_questions(name))
          for name in documents.bundled_names('control_')]


def drift_text(settings: ExamConfig) -> str:
  if settings.drift == 'wikitext2':
    return sources.wikitext2('valid')
  return documents.bundled_document('drift').text


def text_sha256(document: Document) -> str:
  return hashlib.sha256(document.text.encode()).hexdigest()


def _generated_questions(model, chunks, settings, key):
  """Questions that the model itself writes about each chunk while it has it."""
  ready = settings.for_compute(model)
  dreamer = dreams.Dreamer(
      ready.config, ready.params, ready.chat, settings.dreams)
  questions = []
  for i, chunk in enumerate(chunks):
    segment = context.read_document(
        ready.config, ready.params, ready.chat, chunk.text)
    questions += [Question(q, a) for q, a in dreams.write_exam(
        dreamer, chunk.text, (segment,), jax.random.fold_in(key, i),
        settings.answer_prompt, _GENERATED_QUESTIONS)]
  if not questions:
    raise UserError('the model could not write questions about the document: '
                    'give some with --questions=FILE.json.')
  return tuple(questions)


def run(model: Model, document: Document, questions, controls,
        config: dict, settings: cycle.SleepConfig,
        exam_settings: ExamConfig, seed: int, workdir: pathlib.Path,
        saving: Saving | None = None) -> dict:
  """One document, from reading to report.

  Args:
    model: canonical parameters.
    document: what is read.
    questions: for scoring only, or None to let the model write them.
    controls: [(document, questions)] that it does not read.
    config: the resolved configuration, kept in the report.
    settings: of the sleep.
    exam_settings: of the scores.
    seed: root of all randomness.
    workdir: where results go; finished sleeps found there are not repeated.

  Returns:
    The report, also written to `workdir`.
  """
  saving = saving or Saving()
  if saving.keep.best:
    raise UserError(
        'saving.keep.best: sleeps on one document have no measure by which one '
        'is best. Set saving.keep.latest.')
  slots.layer_mask(model.config, settings.slot_layers)  # Refused at once.
  _claim = folder_lib.claim(workdir)
  chat = ChatPrompts(model.tokenizer)
  key = seeds.key_of(seed)
  chunks = wake_chunks(
      chat, document, settings.context_tokens,
      model.config.max_context - settings.reply_tokens)
  lineage = {'base': model.name, 'base_files': str(model.files),
             'base_architecture': model.config.architecture(),
             'answer_prompt': settings.answer_prompt, 'config': config,
             'document_sha256': text_sha256(document), 'sleeps': 0,
             'seconds': {}, 'tokens': {}}
  model = current = model.with_params(
      model.config, sharding.on_mesh(model.params))
  reports = []
  same = 'base_architecture', 'base', 'document_sha256', 'config'
  saved = folder_lib.resumed_model(workdir / 'model', lineage, same)
  if saved is not None:
    lineage = dict(saved.lineage)
    current = saved.with_params(saved.config, sharding.on_mesh(saved.params))
    reports = lineage['reports']
  with (Display(after_phase=_host_pages.give_back) as display,
        preemption.listen() as notice):
    # Of sleeps that an interrupted run has finished.
    display.restore(lineage)
    if saved is not None:
      kept.keep(workdir / 'model', lineage['sleeps'] - 1, None, saving.keep)
    with display.phase('evaluate before', total=1) as phase:
      source = 'file'
      if questions is None:
        questions, source = _generated_questions(
            model, chunks, settings, jax.random.fold_in(key, 2**20)), (
                'generated')
      exam = sleep_scores.Exam(
          chunks, questions, controls, model.tokenizer.encode_stream(
              drift_text(exam_settings))[:exam_settings.drift_tokens])
      answer = AnswerConfig(settings.answer_prompt,
                            exam_settings.max_new_tokens,
                            exam_settings.batch_rows)
      # With room for its slots the model is the same, and so are the programs
      # that score it afterwards.
      before = _score(model.with_params(*slots.allocate_pool(
          model.config, model.params, len(chunks), settings.slot_rank)),
                      exam, answer, settings)
      phase.advance(closed_book_nll=before['closed_book_nll'])
    texts = [documents.bundled_document(name).text
             for name in documents.bundled_names('rehearsal_')]
    with MetricsWriter(workdir / 'metrics.jsonl') as metrics:
      avoid = ([q.question for q in questions] if source == 'generated' else ())

      def wake(n):
        return cycle.Day(
            chunks[n], texts, avoid, remembered(
                [r['texts'] for r in reports], _REMEMBERED, seed, n),
            chunks[:n])

      start = cycle.Life(current, lineage['sleeps'], tuple(
          Memory.from_json(m) for m in lineage.get('memories', ())))
      saves = PhaseSaves(workdir, folder_lib.identity(lineage, same),
                         display, notice, saving.seconds)
      observer = Observer(display, metrics, saves)
      for life, sleep_report in cycle.live(
          start, map(wake, range(start.cycle, len(chunks))), settings,
          key=key, observer=observer):
        current = life.model
        reports.append(dataclasses.asdict(sleep_report))
        lineage = {**lineage, 'sleeps': life.cycle, 'reports': reports,
                   'memories': [dataclasses.asdict(m) for m in life.memories],
                   'seconds': display.seconds, 'tokens': display.tokens}
        with display.phase('save', total=1) as phase, notice.held():
          checkpoints.save_model(
              workdir / 'model', current.config, current.params,
              current.tokenizer, lineage,
              then=lambda night=life.cycle - 1: (
                  kept.keep(workdir / 'model', night, None, saving.keep),
                  saves.clear()))
          phase.advance()
        notice.check()
    with display.phase('evaluate after', total=1) as phase:
      after = _score(current, exam, answer, settings)
      phase.advance(closed_book_nll=after['closed_book_nll'])
  background.finish()
  hand_overs = [r['hand_over'] for r in reports]
  report = {
      'document': document.title,
      'document_sha256': lineage['document_sha256'],
      'questions': len(questions), 'questions_source': source,
      'sleeps': len(chunks),
      **sleep_scores.compare(before, after),
      'growth_max_abs_logit_change': max(
          r['growth_max_abs_logit_change'] for r in reports),
      'growth_shapes': [r['growth_shapes'].splitlines() for r in reports],
      'dreams': sum(r['dreams'] for r in reports),
      'hand_overs': hand_overs,
      'retention_divergence': [h['retention_divergence'] for h in hand_overs],
      'sleeps_rolled_back': sum(h['rolled_back'] for h in hand_overs),
      **_dreaming_entries(reports),
      'params_before': transformer.parameter_count(model.params),
      'params_after': transformer.parameter_count(current.params),
      'params_sha256': params_sha256(current.params),
      'seconds': display.seconds,
      'tokens_per_second': display.tokens_per_second,
      'tokens': display.tokens,
      'peak_memory_bytes': report_lib.peak_memory_bytes(), 'config': config}
  report_lib.write_json(workdir / 'dreams.json', {
      'sleeps': reports, 'questions': [
          dataclasses.asdict(q) for q in questions]})
  report_lib.write_report(workdir, report)
  if distributed.is_first():
    _plot(workdir, report)
  return report


def _plot(workdir, report):
  metrics = workdir / 'metrics.jsonl'
  report_lib.plot_report(
      workdir, report, read_metrics(metrics) if metrics.exists() else [])


def finished(workdir: pathlib.Path, config: dict,
             document: Document) -> dict | None:
  """The report of a run of this configuration and document, if it has ended.

  Reports of earlier versions name their document by its title only.
  """
  path = workdir / 'report.json'
  report = json.loads(path.read_text()) if path.exists() else {}
  theirs, ours = (folder_lib.identity(run, ('config',))
                  for run in (report, {'config': config}))
  same = (report['document_sha256'] == text_sha256(document)
          if 'document_sha256' in report else
          report.get('document') == document.title)
  if not same or theirs != ours:
    return None
  if distributed.is_first() and not (workdir / 'report.png').exists():
    _plot(workdir, report)
  return report


def _score(model, exam, answer, settings):
  ready = settings.for_compute(model)
  return sleep_scores.score_model(
      ready.config, ready.params, ready.chat, exam, answer)


def _dreaming_entries(reports):
  """Of the second stage: how its dreams did, first and last, and its end."""
  nights = [r['dreaming'] for r in reports if r['dreaming']]
  rounds = [r for night in nights for r in night['rounds']]
  if not rounds:
    return {'dream_rounds': 0}
  written = [night['write_back'] for night in nights if night['write_back']]
  return {
      'dream_rounds': len(rounds),
      'dream_success_rate': float(np.mean([r['success_rate'] for r in rounds])),
      'dream_success_rates': [[r['success_rate'] for r in night['rounds']]
                              for night in nights],
      'dream_tau_before': [r['tau_before'][0] for r in rounds],
      'dream_tau_after': [w['tau_after'] for w in written],
      'dream_rolled_back': sum(w['rolled_back'] for w in written)}
