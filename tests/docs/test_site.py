"""The site is built, without a warning, and its links lead somewhere."""

import html.parser
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
pytest.importorskip('mkdocs')
pytest.importorskip('mkdocstrings')


class _Links(html.parser.HTMLParser):
  def __init__(self, text):
    super().__init__()
    self.found = []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.found += [value for name, value in attributes
                   if name in ('href', 'src') and value]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  folder = tmp_path_factory.mktemp('site')
  done = subprocess.run(
      [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', folder],
      cwd=ROOT, text=True, capture_output=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  return folder


def test_links_and_pictures_are_there(site):
  missing, pages = [], [*site.rglob('*.html')]
  assert len(pages) > 20
  for page in pages:
    if page.name == '404.html':
      continue
    for link in _Links(page.read_text(encoding='utf-8')).found:
      path = link.split('#')[0].split('?')[0]
      if path and '://' not in path and not path.startswith(
          ('data:', 'mailto:')):
        target = (page.parent / path).resolve()
        if not (target.is_file() or (target / 'index.html').is_file()):
          missing.append((str(page.relative_to(site)), link))
  assert not missing


def test_nothing_is_fetched_from_elsewhere(site):
  for page in site.rglob('*.html'):
    text = page.read_text(encoding='utf-8')
    assert 'fonts.googleapis' not in text and 'unpkg.com' not in text


def test_what_the_readme_links_is_a_page(site):
  text = (site / 'index.html').read_text(encoding='utf-8')
  for part in ('method/', 'results/writing/', 'extend/', 'experiments/'):
    assert f'href="{part}' in text
  assert 'sleepjax.library' in (site / 'api/index.html').read_text(
      encoding='utf-8')
