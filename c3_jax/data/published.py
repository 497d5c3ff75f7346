"""What published protocols see of the image files of a dataset."""

from c3_jax.errors import UserError

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


def view(data):
  """Reads (crop, load_size) of the protocol that `config.data` names.

  Without a protocol it is the dataset's own, or what crop and load_size say.

  Raises:
    UserError: the dataset has no such protocol.
  """
  # Without the key, crop and load_size say what is seen.
  name = data.get("protocol", CUSTOM) or _DEFAULTS.get(data.name, CUSTOM)
  if data.name == "pf_pascal":
    name = _DEFAULTS[data.name]
  if name == CUSTOM:
    return data.crop, data.load_size
  if (data.name, name) not in VIEWS:
    names = [n for dataset, n in VIEWS if dataset == data.name]
    raise UserError(
      f"config.data.protocol is {name!r}: use one of "
      f"{', '.join([*names, CUSTOM])} for {data.name}."
    )
  return _loaded(data.image_size, *VIEWS[data.name, name])


def _loaded(image_size, crop, border):
  return crop, image_size + 2 * round(image_size * border)


def protocol_of(dataset, frame):
  """Names the protocol of a dataset that sees files as a `Frame`, or None."""
  for (name, protocol), rule in VIEWS.items():
    found = _loaded(frame.image_size, *rule)
    if name == dataset and found == (frame.crop, frame.load_size):
      return protocol
  return None
