"""What the text of a path means, in flags, config keys and calls alike.

"~" is the home folder, also where a shell has not replaced it, as after "=";
everything else is taken literally.
"""

import contextlib
import os
import pathlib
import re

from ml_collections.config_dict import ConfigDict, RequiredValueError

from c3_jax.errors import UserError

# Keys of a config that name a file or folder.
KEYS = (
  "init.workdir",
  *("data.root", "data.extra_root", "data.tfds_dir", "data.landmarks"),
  *("data.packed.train", "data.packed.fit", "data.packed.test"),
  *("weights.resnet50", "weights.vgg"),
)


def local(text, name):
  """Gives the local path that a text means: str; "" stays.

  Args:
    text: str or path.
    name: of the flag or key that it was given with, for messages.

  Raises:
    UserError: it is on another machine, or no path at all.
  """
  text = os.fspath(text)
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
    raise UserError(
      f"{name}={text} is not a local path: mount that storage, or copy it here."
    )
  if "\0" in text:
    raise UserError(f"{name} has a zero byte in it: give a path.")
  if not text.startswith("~"):
    return text
  try:
    return str(pathlib.Path(text).expanduser())
  except RuntimeError as error:
    raise UserError(
      f"{name}={text}: there is no such user; write ./{text} for a folder of "
      "that name."
    ) from error


def expand(config):
  """Replaces the paths of a config, in place, by what they mean.

  A group or path of another kind, or a required one that is not given, stays:
  `training.rules` refuses it.
  """
  with config.unlocked():
    for key in KEYS:
      *groups, last = key.split(".")
      group = config
      for name in groups:
        group = group.get(name) if isinstance(group, ConfigDict) else None
      if not isinstance(group, ConfigDict):
        continue
      with contextlib.suppress(RequiredValueError):
        if isinstance(group.get(last), str):
          group[last] = local(group[last], f"--config.{key}")
