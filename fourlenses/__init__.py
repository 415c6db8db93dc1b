"""Four Lenses: invariance, similarity, entanglement and simplicity of one zoo of networks."""

import os

# Threads that wait spin for a moment only: the default, for ever, makes PyTorch five to ten times slower beside one
# other busy process; not at all costs a third on an idle machine.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
