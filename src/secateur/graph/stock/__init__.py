"""The rules of the layers and operations that come with Keras; importing it registers them."""

from secateur.graph.stock import minting, operations, passing  # noqa: F401
