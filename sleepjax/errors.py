class UserError(ValueError):
  """Input that the person who started the run can correct.

  Its message names the input, what was expected and what to do. The commands
  in `experiments` print it without a traceback and exit with status 2.
  """


class NotFiniteError(UserError, FloatingPointError):
  """A run has met NaN or infinity; its message says where."""
