class UserError(ValueError):
  """Input that the person who started the run can correct.

  Its message names the input, what was expected and what to do. The commands
  in `experiments` print it without a traceback and exit with status 2.
  """


class NotFiniteError(UserError, FloatingPointError):
  """A run has met NaN or infinity; its message says where."""


def check_least(settings, **least) -> None:
  """Checks numbers of a settings object: name -> the smallest it may be.

  Raises:
    ValueError: one is smaller, or no number.
  """
  for name, number in least.items():
    value = getattr(settings, name)
    if not value >= number:
      raise ValueError(f'{name}={value} must be at least {number}.')
