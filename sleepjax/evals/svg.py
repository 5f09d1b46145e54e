"""Charts as inline SVG: a line over steps, and bars, in the page's colours.

Colours and fonts come from the classes of `assets/page/page.css`, so that one
picture fits a light and a dark page.
"""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

_WIDTH, _HEIGHT = 340, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 24
_NOTHING = 0.01  # Of the range: below it is 0.
_SMOOTH = 40  # Points; from so many on a running mean is drawn, too.


def line_chart(values: Sequence[float], label: str,
               breaks: Sequence[int] = ()) -> Markup:
  """One number over steps.

  Args:
    values: one for each step; None or not finite where there is none.
    label: what it is, for those who cannot see it.
    breaks: steps at which another night begins.
  """
  points = [(x, y) for x, y in enumerate(values)
            if y is not None and math.isfinite(y)]
  if not points:
    return Markup('')
  low, high = (pick(y for _, y in points) for pick in (min, max))
  if abs(low) < _NOTHING * (high - low):
    low = 0.0  # Rounding is not to take a quarter of the picture.
  ticks = nice_ticks(low, high)
  last = max(len(values) - 1, 1)
  place_x = lambda x: _LEFT + x / last * (_WIDTH - _LEFT - _RIGHT)
  bottom, top = ticks[0], ticks[-1]
  place_y = lambda y: _TOP + (top - max(y, bottom)) / (top - bottom) * (
      _HEIGHT - _TOP - _BOTTOM)
  parts = []
  for tick in ticks:
    y = place_y(tick)
    parts.append(Markup(
        '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 5, y + 3.5, f'{tick:.4g}'))
  for step in breaks:
    x = place_x(step)
    parts.append(Markup(
        '<line class="night" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(
            x, x, _TOP, _HEIGHT - _BOTTOM))
  for step, anchor in ((0, 'start'), (len(values) - 1, 'end')):
    parts.append(Markup(
        '<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            place_x(step), _HEIGHT - 6, anchor, step))
  for start, stop in zip((0, *breaks), (*breaks, len(values)), strict=True):
    drawn = [point for point in points if start <= point[0] < stop]
    places = lambda some: ' '.join(
        f'{place_x(x):.1f},{place_y(y):.1f}' for x, y in some)
    if len(drawn) == 1:
      parts.append(Markup('<circle class="dot" cx="{}" cy="{}" r="3"/>').format(
          *places(drawn).split(',')))
    elif len(points) < _SMOOTH:
      parts.append(_polyline('mean', places(drawn)))
    else:
      parts += [_polyline('raw', places(drawn)),
                _polyline('mean', places(smoothed(drawn)))]
  return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
                ).format(_WIDTH, _HEIGHT, label, Markup('').join(parts))


def _polyline(name, places):
  return Markup('<polyline class="{}" points="{}"/>').format(name, places)


def nice_ticks(low: float, high: float) -> list[float]:
  """Three to six round numbers, the first at most `low`, the last at least
  `high`."""
  if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
    low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
  rough = (high - low) / 4
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(power * m for m in (1, 2, 5, 10) if rough <= power * m * 1.001)
  first, last = math.floor(low / step), math.ceil(high / step)
  return [round(n * step, 12) for n in range(first, last + 1)]


def smoothed(points: Sequence[tuple[float, float]]
             ) -> list[tuple[float, float]]:
  """Means over a twentieth of the points around each of them."""
  x, y = np.asarray(points, np.float64).reshape(-1, 2).T
  reach = max(1, len(points) // 40)
  return [(x[i], float(y[max(0, i - reach):i + reach + 1].mean()))
          for i in range(len(points))]
