"""What functions of arrays take."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray  # On a device, or the host.
