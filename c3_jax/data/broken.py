"""How many broken image files a dataset may have: up to 3, or 1 %."""

import logging

from c3_jax.errors import UserError

logger = logging.getLogger(__name__)

_NAMES_LOGGED = 10


def check(paths, good):
  """Logs the files that are not among the indices `good`.

  Raises:
    UserError: there are too many of them.
  """
  n, paths = len(paths), [str(path) for path in paths]
  broken = sorted(set(range(n)).difference(good))
  if not broken:
    return
  check_count(paths[broken[0]], len(broken), n)
  named = ", ".join(paths[i] for i in broken[:_NAMES_LOGGED])
  more = len(broken) - _NAMES_LOGGED
  named += f" and {more} more" if more > 0 else ""
  logger.warning(
    "Skipped %d of %d images that cannot be decoded: %s", len(broken), n, named
  )


def check_count(path, broken, n):
  """Refuses a dataset of which too many of n files are broken.

  Raises:
    UserError: names `path`, one of them.
  """
  if broken == n or broken > max(3, n // 100):
    raise UserError(
      f"{path} cannot be decoded, one of {broken} broken of {n} images; remove "
      "them or convert them to JPEG or PNG."
    )
