"""The files that landmarks are written to: a csv table, or COCO keypoints.

Both begin with an open file and a `Predictor`, take `Landmarks` after
`Landmarks`, and are complete once they are closed. `OURS` is what such a file
begins with.
"""

import csv
import json

import numpy as np

from c3_jax.data import coco, video


class Table:
  """A csv file, one row an image or frame; see docs/predict.md."""

  OURS = rb"file(,x\d+,y\d+)+(,c\d+)+(,px\d+,py\d+)*(,frame,time)?(,swap)?\r?\n"
  # Names of files may be bytes that are not UTF-8.
  OPTIONS = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}

  def __init__(self, file, predictor, *, clips):
    """Writes the header; with `clips` there are columns of frames."""
    self._writer = csv.writer(file, lineterminator="\n")
    self._clips = clips
    self._writer.writerow(
      [
        "file",
        *(f"{axis}{i + 1}" for i in range(predictor.k) for axis in "xy"),
        *(f"c{i + 1}" for i in range(predictor.k)),
        *(
          f"p{axis}{i + 1}"
          for i in range(predictor.n_annotated)
          for axis in "xy"
        ),
        *(["frame", "time"] if clips else []),
        *(["swap"] if predictor.partner is not None else []),
      ]
    )

  def add(self, found):
    """Writes the row of a `Landmarks`."""
    row = [found.name, *(f"{x:.3f}" for x in found.points.flat)]
    row += [f"{c:.4f}" for c in found.confidence]
    if found.annotated is not None:
      row += [f"{x:.3f}" for x in found.annotated.flat]
    if self._clips:
      seconds = found.seconds
      row += [
        "" if found.frame is None else found.frame,
        "" if seconds is None else f"{seconds:.4f}",
      ]
    if found.swapped is not None:
      row.append(_pairs(found))
    self._writer.writerow(row)

  def close(self):
    """Does nothing: every row is written."""


class Coco:
  """A COCO file; annotated points follow the landmarks as p1, p2, .."""

  OURS = rb'\{"info": \{"description": "Landmarks found by c3_jax"'
  OPTIONS = {"encoding": "utf-8"}

  def __init__(self, file, predictor, *, clips):
    del clips  # Frames are named in any case.
    self._file = file
    self._document = coco.Document(
      [
        *(f"l{i + 1}" for i in range(predictor.k)),
        *(f"p{i + 1}" for i in range(predictor.n_annotated)),
      ]
    )

  def add(self, found):
    """Adds the image, and the object in it, of a `Landmarks`."""
    points, confidence = found.points, found.confidence
    if found.annotated is not None:
      points = np.concatenate([points, found.annotated])
      confidence = np.append(confidence, np.ones(len(found.annotated)))
    name, more = found.name, {}
    if found.frame is not None:
      name = video.name_of(name, found.frame)
      more = {"frame": found.frame, "time": found.seconds}
    if found.swapped is not None:
      more["swap"] = _pairs(found)
    self._document.add(name, found.size, points, confidence, **more)

  def close(self):
    """Writes the file."""
    json.dump(self._document.content(), self._file)
    self._file.write("\n")


def _pairs(found):
  """Counts the pairs of landmarks that have changed sides."""
  return int(np.count_nonzero(found.swapped)) // 2
