"""Elements of the page: HTML in which every text from a file is escaped."""

import base64
import html
import io
import logging

from PIL import Image

from c3_jax.runtime import files

logger = logging.getLogger(__name__)

# Width in pixels and quality of a JPEG, best first.
SIZES = ((900, 90), (900, 80), (720, 75), (540, 70), (400, 60), (280, 50))
LARGEST = 2**25  # Bytes of a figure that is read.


def escape(text):
  """Escapes a text for HTML, inside attributes, too."""
  return html.escape(str(text))


def section(title, *blocks, about=""):
  """Makes a section of blocks of HTML; "" where all blocks are empty."""
  inside = "".join(filter(None, blocks))
  if not inside:
    return ""
  about = f'<p class="about">{about}</p>' if about else ""
  return f"<section><h2>{escape(title)}</h2>{about}{inside}</section>"


def table(head, rows, kind=""):
  """Makes a table of cells that are HTML already.

  The first cell of a row is its header.
  """
  head = "".join(f'<th scope="col">{cell}</th>' for cell in head)
  body = "".join(
    f'<tr><th scope="row">{row[0]}</th>'
    f"{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
    for row in rows
  )
  return (
    f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>"
  )


def details(summary, inside):
  """Makes a block that opens when its summary is clicked."""
  if not inside:
    return ""
  return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def number(value, form=".2f"):
  """Writes a number; a dash for None."""
  return "–" if value is None else format(value, form)


def image(path, about, *, share):
  """Embeds a figure as a JPEG; "" where there is none.

  Args:
    path: of the PNG.
    about: what it shows, for those who do not see it.
    share: bytes that the text may take; the image gets smaller until it does.
  """
  if not path.is_file():
    return ""
  try:
    data = files.read_bytes(path, largest=LARGEST)
    with Image.open(io.BytesIO(data)) as opened:
      drawn = opened.convert("RGB")
  except (OSError, ValueError, Image.DecompressionBombError) as error:
    logger.warning("%s is left out: %s", path, files.reason(error))
    return ""
  for width, quality in SIZES:
    encoded = _encode(drawn, width, quality)
    if len(encoded) <= share:
      break
  width, height = drawn.size
  # A small one would be blurred if it filled the page.
  kind = "plate" if width > SIZES[0][0] // 2 + 90 else "plate small"
  return (
    f'<div class="{kind}"><img alt="{escape(about)}" width="{width}" '
    f'height="{height}" src="data:image/jpeg;base64,{encoded}"></div>'
  )


def _encode(drawn, width, quality):
  smaller = drawn.copy()
  smaller.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
  out = io.BytesIO()
  smaller.save(out, "JPEG", quality=quality, subsampling=0)
  return base64.b64encode(out.getvalue()).decode()
