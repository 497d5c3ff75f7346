"""Synthetic faces: an exact world, in which every correspondence is known.

Pose and appearance are drawn independently, so that nothing but the face itself
tells the pose. `head` has the geometry, `drawing` the painting, `faces` the
examples of a seed, in memory and without files.
"""

from c3_jax.data.synthetic.drawing import Appearance, render
from c3_jax.data.synthetic.faces import Faces, dataset, posed
from c3_jax.data.synthetic.head import HeadPose, correspondence, landmarks
