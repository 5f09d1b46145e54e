"""What is shown of pages, written down by hand."""

import pytest

from sleepjax.data import markup
from sleepjax.data.markup import Shown, html_text, markdown_text


@pytest.mark.parametrize('source, text', [
    ('<p>One  line\n wrapped.</p><p>Two.</p>', 'One line wrapped.\n\nTwo.'),
    ('a<b>b</b> <i>c</i>d &amp; &lt;e&gt; &eacute;&#8212;f',
     'ab cd & <e> é—f'),
    ('see <a href="https://x.y">the page</a>.', 'see the page.'),
    ('one<br>two<br/><br>three', 'one\ntwo\n\nthree'),
    ('<ul><li>a<li>b<ul><li>c</ul><li>d</ul>e',
     '- a\n- b\n\n  - c\n\n- d\n\ne'),
    ('<ol start="3"><li><p>a</p><li>b</ol>', '3. a\n\n4. b'),
    ('<pre>\n x  y\n\tz\n</pre>after', 'x  y\n\tz\n\nafter'),
    ('<p>a<pre><code><b>if</b> x:\n  y</code></pre>',
     'a\n\nif x:\n  y'),
    ('soft\xadhyphen and&nbsp;fixed\u200bspace', 'softhyphen and fixedspace'),
    ('<dl><dt>a<dd>b<dt>c<dd>d</dl>', 'a\nb\nc\nd'),
    # What is not shown.
    ('a<script>var x = "</p>";</script><style>p {}</style>'
     '<!-- no --><template>no</template><noscript>no</noscript>b', 'ab'),
    ('<p hidden>no<p>yes<div style="Display : none"><b>no</div>on',
     'yes\n\non'),
    ('<img alt="no" src="x.png">text<svg><title>no</title></svg>', 'text'),
    ('unclosed <script>if (a < b) {}', 'unclosed'),
    # Ends of nothing, and none.
    ('</div></table>a<div>b', 'a\nb'),
    ('<b><p>a<p>b', 'a\n\nb'),
    ('1 < 2 & 3 > 2', '1 < 2 & 3 > 2'),
    ('', ''),
])
def test_text_of_html(source, text):
  assert html_text(source) == Shown('', text)


@pytest.mark.parametrize('source, text', [
    ('<table><tr><th>town<th>people<tr><td>Ory<td>812<tr><td><td>7</table>',
     'town: Ory; people: 812\npeople: 7'),
    ('<table><thead><tr><th></th><th>May</th></tr></thead><tbody><tr>'
     '<th>rain</th><td>3</td></tr></tbody></table>', 'rain; May: 3'),
    ('<table><tr><td>a</td><td>b</td><td> </td></tr></table>', 'a; b'),
    ('<table><tr><th>only</th><th>names</th></tr></table>', 'only; names'),
    # A page that is laid out by a table, with another one inside.
    ('<table><tr><td><p>One.<p>Two.</td><td>x<table><tr><td>p<td>q</table>'
     '</table>z', 'One.\n\nTwo.\nx\n\np; q\n\nz'),
    ('<table><tr><td><font>a<td>b</div></p><tr><td>c</table>', 'a; b\nc'),
])
def test_rows_of_tables(source, text):
  assert html_text(source).text == text


@pytest.mark.parametrize('source, title, text', [
    ('<head><title> The\n page </title></head><h1>Top</h1><p>Text.',
     'The page', 'Top\n\nText.'),
    ('<body><h1>Top <em>one</em></h1><p>Text.', 'Top one', 'Text.'),
    ('<p>Before.<h1>Top</h1>Text.', '', 'Before.\n\nTop\n\nText.'),
    ('<h2>Only a heading</h2>', '', 'Only a heading'),
])
def test_titles_of_html(source, title, text):
  assert html_text(source) == Shown(title, text)


MARKDOWN = '''# The *mill*

It was built by [Ann](https://example.org "no") in `1911`,\tand
burnt down. ![a badge](x.png)

## Parts

* wheel
* **stone**
  1. upper
  2. lower

```python
if x < 1:  # <b>
  y()
```

| part | age |
|------|----:|
| beam | 90  |

<details><summary>More</summary>

Kept. <!-- not shown -->

</details>
'''


def test_text_of_markdown():
  assert markdown_text(MARKDOWN) == Shown('The mill', '''\
It was built by Ann in 1911, and burnt down.

Parts

- wheel
- stone

  1. upper
  2. lower

if x < 1:  # <b>
  y()

part: beam; age: 90

More

Kept.''')


@pytest.mark.parametrize('source, title, text', [
    ('---\ntitle: "A day"\ndate: 2024-01-01\n---\n\nText.', 'A day', 'Text.'),
    ('---\ndate: today\n...\n# Top\n\nText.', 'Top', 'Text.'),
    ('---\n\nNo field.\n\n---\n\nText.', '', 'No field.\n\nText.'),
    ('Setext\n======\n\nText.', 'Setext', 'Text.'),
    ('    code\n\n<p align="center">Text</p>', '', 'code\n\nText'),
])
def test_titles_of_markdown(source, title, text):
  assert markdown_text(source) == Shown(title, text)


@pytest.mark.parametrize('content, encoding', [
    (b'<meta charset="latin1">', 'cp1252'),
    (b'<META http-equiv=Content-Type content="text/html; charset=KOI8-R">',
     'koi8-r'),
    (b'<meta charset=nonsense>', None),
    (b'<p>charset=latin1', None),
    (b' ' * 2000 + b'<meta charset="latin1">', None),
])
def test_declared_encodings(content, encoding):
  assert markup.declared_encoding(content) == encoding


def test_nesting_is_no_trouble():
  assert html_text('<b>' * 20_000 + 'x').text == 'x'
  assert html_text('<div><table><tr><td>' * 2000 + 'x').text == 'x'
