"""Pages of the site that lie outside of docs/, and links to them.

A hook of mkdocs. README.md becomes the front page; other pages of the
repository that something links to keep their place. Links of all of them are
written for the repository, and are turned to where the site has them.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_OUTSIDE = {'README.md': 'index.md', **{name: name for name in (
    'CHANGELOG.md', 'CONTRIBUTING.md', 'experiments/README.md',
    'experiments/ops/tpu_vm/README.md', 'configs/scale/README.md')}}
_LINK = re.compile(r'\]\((?!https?:|mailto:|#)([^)#\s]+)')
_IN_REPOSITORY = {site: name for name, site in _OUTSIDE.items()}


def on_files(files, config):
  for name, site in _OUTSIDE.items():
    files.append(File.generated(
        config, site, content=(_ROOT / name).read_text(encoding='utf-8')))
  return files


def on_page_markdown(markdown, page, config, files):
  del config, files
  here = page.file.src_uri
  source = _IN_REPOSITORY.get(here, f'docs/{here}')

  def turned(match):
    target = posixpath.normpath(posixpath.join(
        posixpath.dirname(source), match[1]))
    if target in _OUTSIDE:
      place = _OUTSIDE[target]
    elif target.startswith('docs/'):
      place = target.removeprefix('docs/')
    else:
      return match[0]
    return '](' + posixpath.relpath(place, posixpath.dirname(here) or '.')

  text = _LINK.sub(turned, markdown)
  # What the site does not have is named, not linked.
  return re.sub(r'\[([^\]]+)\]\(((?!https?:|mailto:|#)[^)]+)\)', lambda m: (
      m[0] if _has(m[2], here) else m[1]), text)


def _has(link, here):
  target = posixpath.normpath(posixpath.join(
      posixpath.dirname(here), link.split('#')[0]))
  return target in _IN_REPOSITORY or (_ROOT / 'docs' / target).is_file()
