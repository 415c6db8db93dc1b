"""Hot paths timed beside a peer in the same process; run one by `python -m benchmarks.<name>`."""

import fourlenses  # noqa: F401 (before torch: it says how threads wait)
