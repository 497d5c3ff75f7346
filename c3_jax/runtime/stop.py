"""Commands that are stopped by Ctrl-C or SIGTERM: one line, exit 130 or 143.

While a command is imported, it ends at once. While it runs, a signal raises
KeyboardInterrupt, so that every block cleans up.
"""

import os
import signal
import sys
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Exit codes of a program that was stopped, as shells have them.
STATUSES = tuple(128 + number for number in SIGNALS)
_AGAIN = 0.05  # Seconds until an exception that was lost is raised again.


def is_command(arguments):
  """Tells whether `sys.orig_argv` starts a module of c3_jax: python -m .."""
  given = arguments[arguments.index("-m") + 1 :] if "-m" in arguments else ()
  return bool(given) and given[0].startswith("c3_jax.")


def at_once():
  """Ends the program at a signal, where there is nothing to clean up."""
  for number in SIGNALS:
    signal.signal(number, _leave)


def by_exception():
  """Raises KeyboardInterrupt(number) at a signal, in the main thread."""
  for number in SIGNALS:
    signal.signal(number, _interrupt)
  sys.unraisablehook = _again


def ignored():
  """Ignores the signals, while what was stopped is cleaned up."""
  for number in SIGNALS:
    signal.signal(number, signal.SIG_IGN)


def words(number):
  """Says that a signal stopped the program."""
  return (
    f"stopped by {signal.Signals(number).name}; what was complete stays, the "
    "rest is to be started again."
  )


def _leave(number, frame):
  # Not by print, in the midst of which the signal may have come.
  os.write(2, f"c3_jax: {words(number)}\n".encode())
  os._exit(128 + number)


def _interrupt(number, frame):
  raise KeyboardInterrupt(number)


def _again(lost):
  """Repeats a signal whose exception was raised where Python drops them.

  That is in a destructor, or in what JAX does when garbage is collected.
  """
  if not issubclass(lost.exc_type, KeyboardInterrupt):
    sys.__unraisablehook__(lost)
    return
  number = (lost.exc_value.args or (signal.SIGINT,))[0]
  # Here it would be lost, too.
  threading.Timer(_AGAIN, os.kill, (os.getpid(), number)).start()
