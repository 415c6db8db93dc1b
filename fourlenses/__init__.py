"""Four Lenses: invariance, similarity, entanglement and simplicity of one zoo of networks."""

import os

# Threads that wait must not spin: beside one other busy process, spinning makes PyTorch five to ten times slower here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
