"""What published protocols see of the image files of a dataset."""

from ml_collections import ConfigDict

from c3_jax.errors import UserError
from c3_jax.geometry import Frame

# (dataset, protocol): the crop rule, and the border of the loaded image that
# the network does not see, as a share of image_size.
VIEWS = {
  ("celeba", "imm"): ("imm", 16 / 128),
  ("celeba", "dve"): ("dve", 20 / 96),
  ("aflw", "imm"): ("imm", 0),
  ("aflw", "dve"): ("imm", 20 / 96),
  ("pf_pascal", "ncnet"): ("imm", 0),
}
VIEWS |= {("mafl", name): VIEWS["celeba", name] for name in ("imm", "dve")}
_DEFAULTS = {"aflw": "imm", "pf_pascal": "ncnet"}
CUSTOM = "custom"


def frame_of(config: ConfigDict) -> Frame:
  """Reads what a run sees of image files.

  That is what the protocol says that `config.data` names or, without one, that
  of its dataset; else what crop and load_size say.

  Raises:
    UserError: the dataset has no such protocol, or the config is of a version
      that does not say.
  """
  data = config.data
  try:
    # Without the key, crop and load_size say what is seen.
    name = data.get("protocol", CUSTOM) or _DEFAULTS.get(data.name, CUSTOM)
    if data.name == "pf_pascal":
      name = _DEFAULTS[data.name]
    if name == CUSTOM:
      return Frame(data.image_size, data.load_size, data.crop)
  except AttributeError as error:
    raise UserError(
      f"config.json of the run is of another version ({error}): use the "
      "version of c3_jax it was trained with."
    ) from error
  if (data.name, name) not in VIEWS:
    names = [n for dataset, n in VIEWS if dataset == data.name]
    raise UserError(
      f"config.data.protocol is {name!r}: use one of "
      f"{', '.join([*names, CUSTOM])} for {data.name}."
    )
  return _frame(data.image_size, *VIEWS[data.name, name])


def _frame(image_size, crop, border):
  return Frame(image_size, image_size + 2 * round(image_size * border), crop)


def protocol(data, frame) -> dict | None:
  """Names the protocol that the dataset of `config.data` is seen by.

  Example data, drawn where there are no files, stands on none.

  Returns:
    See `Dataset`; None where no published numbers may be held against it.
  """
  if not (data.root or data.tfds_dir):
    return None
  names = [
    name
    for (dataset, name), view in VIEWS.items()
    if dataset == data.name and frame == _frame(frame.image_size, *view)
  ]
  if not names:
    return None
  if data.name != "aflw":
    paper = "mafl" if data.name == "celeba" else data.name
    return {"paper": paper, "name": names[0]}
  if names == ["imm"] and data.release != "lmdis":
    return None
  return {"paper": "aflw", "name": names[0], "release": data.release}
