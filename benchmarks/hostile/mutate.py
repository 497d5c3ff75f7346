"""Changes sound files at random: bytes, texts, JSON, arrays."""

import contextlib
import copy
import io
import json

import numpy as np

NUMBERS = (
  *("nan", "inf", "-inf", "1e308", "-1e308", "1e999", "0", "-1", "1.5", ""),
  *("9" * 5000, "0x10", "null", "\x1b[2J", "१", "1_000", "é", "'", '"', ","),
)
VALUES = (
  *(None, True, 0, -1, 10**9, 10**30, 1.5, 1e308, float("nan"), float("inf")),
  *("", "text", "\x1b[2J", [], [[]], [1, "a"], {}, {"a": {}}, [[1.0], [1, 2]]),
)


def mutate_bytes(data, rng):
  """Flips, cuts, repeats or replaces some bytes."""
  data = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 5, 20))):
    start = rng.randrange(len(data) + 1)
    # Headers decide what is done with the rest.
    start = min(start, rng.choice((20, 200, *[len(data)] * 3)))
    end = min(len(data), start + rng.choice((1, 2, 4, 16, 300)))
    match rng.randrange(6):
      case 0:
        data[start:end] = rng.randbytes(end - start)
      case 1:
        del data[start:end]
      case 2:
        data[start:start] = data[start:end] * rng.choice((1, 3, 50))
      case 3:
        del data[start:]
      case 4:
        data[start:end] = rng.choice((b"\x00", b"\xff")) * (end - start)
      case 5 if start < end:
        data[start] ^= 1 << rng.randrange(8)
  return bytes(data)


def mutate_text(data, rng):
  """Replaces a token, or a line, of a text."""
  if rng.random() < 0.25:
    return mutate_bytes(data, rng)
  lines = data.decode("utf-8", "replace").split("\n")
  for _ in range(rng.choice((1, 1, 3))):
    at = rng.randrange(len(lines))
    mark = "," if "," in lines[at] else " "
    tokens = lines[at].split(mark)
    match rng.randrange(6):
      case 0 | 1 | 2:
        tokens[rng.randrange(len(tokens))] = rng.choice(NUMBERS)
        lines[at] = mark.join(tokens)
      case 3:
        lines[at] = mark.join(tokens * rng.choice((0, 2, 1000)))
      case 4:
        lines.insert(at, rng.choice((lines[at], "", mark, "\x00", "# no")))
      case 5:
        rng.shuffle(tokens)
        lines[at] = mark.join(tokens)
  return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_json(data, rng):
  """Replaces, removes or nests a part of a JSON file."""
  if rng.random() < 0.2:
    return mutate_bytes(data, rng)
  if rng.random() < 0.05:
    return rng.choice((b"[", b'{"a":')) * 10**5
  value = json.loads(data)
  for _ in range(rng.choice((1, 1, 3))):
    # A random walk to a part: shallow and deep ones alike.
    holder, key, at = [value], 0, value
    while isinstance(at, dict | list) and at and rng.random() < 0.85:
      holder = at
      key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
      at = at[key]
    if rng.random() < 0.15 and isinstance(holder, dict):
      del holder[key]
    else:
      holder[key] = copy.deepcopy(rng.choice(VALUES))
    if holder is not value and at is value:
      value = holder[0]
  return json.dumps(value).encode()


def mutate_arrays(data, rng):
  """Replaces, removes or reshapes an array of an .npz file."""
  if rng.random() < 0.4:
    return mutate_bytes(data, rng)
  with np.load(io.BytesIO(data)) as archive:
    arrays = {name: archive[name] for name in archive}
  name = rng.choice(list(arrays))
  array = arrays[name]
  match rng.randrange(6):
    case 0:
      del arrays[name]
    case 1:
      arrays[name] = array[..., None]
    case 2:
      arrays[name] = np.resize(array, (*array.shape[:-1], 7))
    case 3:
      kind = rng.choice(("u1", "f4", "f8", "i8", "b1", "U9", "c8", "S3"))
      with contextlib.suppress(ValueError):
        arrays[name] = array.astype(kind)
    case 4 if array.dtype.kind == "f" and array.size:
      arrays[name] = array.copy()
      arrays[name].flat[rng.randrange(array.size)] = rng.choice(
        (np.nan, np.inf)
      )
    case _:
      hostile = (np.array(-1), np.array(10**9), np.zeros(0), np.array("x" * 99))
      arrays[name] = rng.choice(hostile)
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


# Tables as programs and countries write them: encoding, separator, line end.
ENCODINGS = (
  *("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"),
  *("utf-7", "latin-1"),
  *("cp1252", "cp437", "shift_jis", "gb18030", "koi8-r", "cp500"),
)


def mutate_encoding(data, rng):
  """Writes a table of text in another encoding, often with another fault."""
  text = data.decode("utf-8")
  changes = [
    ("0.jpg", ("é.jpg", "ж.jpg", "猫.jpg")),
    (",", (";", "\t", ", ", "|", '","')),
    ("\n", ("\r\n", "\r", "\u2028", "\x85", "\n\n")),
    (".", (",", "\u066b", "\xb7")),
  ]
  for old, new in rng.sample(changes, rng.choice((0, 1, 1, 2))):
    text = text.replace(old, rng.choice(new))
  if rng.random() < 0.3:
    at = rng.randrange(len(text) + 1)
    fault = rng.choice(("\ufeff", "\0", '"', "\x1a", "\x1b[2J", "\u202e"))
    text = text[:at] + fault + text[at:]
  data = text.encode(rng.choice(ENCODINGS), "replace")
  return mutate_bytes(data, rng) if rng.random() < 0.2 else data


def mutate_metadata(data, rng):
  """Changes a file that may be JSON: by its parts, or by its bytes."""
  try:
    json.loads(data)
  except ValueError:
    return mutate_bytes(data, rng)
  return mutate_json(data, rng)
