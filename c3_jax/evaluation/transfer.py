"""Points carried from one image to another by the flow (Fig. 3)."""

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import augment, parallel, warp
from c3_jax.evaluation import regression
from c3_jax.models import flow


def transferred(model, f_from, f_to, points):
  """Carries points from one image to another.

  Args:
    model: bound `C3`.
    f_from, f_to: [n, h, w, c], f' of the images.
    points: [n, p, 2] in the images `from`.

  Returns:
    [n, p, 2] in the images `to`: T^{to->from}, which holds the match in `to`
    of each cell of `from`, read bilinearly at the points.
  """
  field = flow.hard_correspondence(model.match(f_to, f_from))
  return jax.vmap(warp.sample)(field, points)


def transfer_function(model, image_size):
  """A pmapped (variables, batch) -> points [n, p, 2] in the second images.

  The batch has image_from and image_to, uint8 [n, s, s, 3], and points,
  float32 [n, p, 2] in the first.
  """

  def carry(variables, batch):
    images = jnp.concatenate([batch["image_from"], batch["image_to"]])
    images = augment.centre_crop(images, image_size).astype(jnp.float32) / 255

    def run(model, images, points):
      f_from, f_to = jnp.split(model.features(images)[0], 2)
      return transferred(model, f_from, f_to, points)

    return model.apply(variables, images, batch["points"], method=run)

  return parallel.pmap_eval(carry)


def transfer_errors(
  function, variables, dataset, *, image_size, normaliser, batch_size
):
  """How well annotated points arrive, over pairs of neighbouring images.

  Image 2m gives its points to image 2m + 1.

  Args:
    function: of `transfer_function`.
    variables: params and batch_stats.
    dataset: annotated, with `eval_batches`.
    image_size: side of the model frame in pixels.
    normaliser: as `regression.point_errors`.
    batch_size: pairs at a time, a multiple of the local devices.

  Returns:
    {"flow": percent, "identity": percent}; identity leaves the points where
    they are.
  """
  carried = []
  for batch in dataset.eval_batches(2 * batch_size):
    inputs = {
      "image_from": batch["image"][0::2],
      "image_to": batch["image"][1::2],
      "points": batch["points"][0::2],
    }
    carried.append(function(variables, inputs))
  pairs = len(dataset) // 2
  carried = np.concatenate(carried)[:pairs]
  points = dataset.points[: 2 * pairs]

  def error(found):
    return regression.error_percent(
      regression.to_corner_pixels(found, image_size),
      regression.to_corner_pixels(points[1::2], image_size),
      normaliser=normaliser,
      image_size=image_size,
    )

  return {"flow": error(carried), "identity": error(points[0::2])}
