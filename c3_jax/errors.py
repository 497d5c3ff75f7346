"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
  """A mistake in the user's input: `main` prints it in one line and exits 2.

  The message is one sentence that names the file or config key at fault, and
  one that says how to fix it.
  """
