"""The networks: images to landmarks and appearance, and back to images.

`C3` holds the paper's five (N, E_a, E_p, D and the flow head), each in a module
of its own; `VGG` is the frozen network of the perceptual distance. `initial`
makes both from a config, `porting` reads weights trained by others.
"""

from c3_jax.models.c3 import C3, Encoding
from c3_jax.models.decoder import Decoder
from c3_jax.models.extractors import AppearanceExtractor, Pose, PoseExtractor
from c3_jax.models.flow import Flow
from c3_jax.models.resnet import ResNet
from c3_jax.models.vgg import VGG
