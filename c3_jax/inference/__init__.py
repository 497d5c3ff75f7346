"""Landmarks of new images, in pixels of each: from Python, and as a table.

  predictor = inference.load("runs/mine")
  for found in predictor.predict("photos/"):
    print(found.name, found.points, found.confidence)

`write_landmarks` writes them to a csv file.
"""

from c3_jax.inference.predictor import Landmarks, Predictor, load
from c3_jax.inference.table import write_landmarks
