"""Ask every judge of the panel to put each IRI with its target, among three."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, write_csv
from fourlenses.invariance.clustering import clustering, compared, draw_targets
from fourlenses.invariance.judges import JUDGES, PANEL, look
from fourlenses.invariance.unit import Unit
from fourlenses.nets.zoo import load_trunks
from fourlenses.params import read_params
from fourlenses.statistics import Undecided

LOSS = "free"
N_STARTS = 3  # IRIs of each target, one per seed image
COLUMNS = ["network", "architecture", "recipe", "augment", "loss", "kind", "judge", "clustering", "low", "high", "n"]


def main(trunks: Path, iris: Path, out: Path) -> None:
    """Ask every judge of the panel to put each IRI with its target, among three of different classes or of one.

    Args:
        trunks: the judges' networks (safetensors)
        iris: folder of the IRIs of each network (safetensors)
        out: clustering by network, kind and judge, with intervals (CSV); no rows with fewer than three seed images
    """
    params = read_params()
    networks, seeds = params.networks, params.train.seeds
    starts, n_resamples = params.invert.seed_images[:N_STARTS], params.judge.n_bootstrap
    decides = {"networks": list(networks), "seeds": seeds, "seed_images": starts, "n_bootstrap": n_resamples}
    inputs = [trunks] + [iris / f"{name}.safetensors" for name in networks]
    with runtime.stage("cluster", decides=decides, inputs=inputs, outputs=[out]):
        device = runtime.device()
        seen_by = load_trunks(trunks, device)
        distances = {name: JUDGES[name].build(seen_by) for name in PANEL}
        rows = []
        for network in runtime.progress(networks if len(starts) == N_STARTS else [], "cluster"):
            tensors, _ = load_tensors(iris / f"{network}.safetensors")
            at_targets = look(distances.values(), tensors["targets"].to(device))
            draws = _draws(tensors["labels"].numpy())
            asked = torch.from_numpy(compared(list(draws.values()), len(tensors["labels"]))).to(device)
            found: dict[str, list] = {name: [] for name in distances}
            for seed in seeds:
                seen = [
                    look(distances.values(), tensors[f"{Unit(LOSS, start).key(seed)}/x"].to(device)) for start in starts
                ]
                for name, judge in distances.items():
                    matrices = [judge.matrix(each[judge.see], at_targets[judge.see], asked) for each in seen]
                    found[name].append([matrix.cpu().double().numpy() for matrix in matrices])
            spec = networks[network]
            about = {"network": network, "architecture": spec.architecture, "recipe": spec.recipe}
            about |= {"augment": spec.augment, "loss": LOSS}
            for kind, drawn in draws.items():
                for name, each in [*found.items(), ("median", None)]:
                    panel = np.array(list(found.values()) if each is None else [each])
                    value, low, high = clustering(panel, drawn, n_resamples, np.random.default_rng(0))
                    measured = {"clustering": value, "low": low, "high": high, "n": drawn.size * len(seeds)}
                    rows.append(about | {"kind": kind, "judge": name} | measured)
        write_csv(out, pd.DataFrame(rows, columns=COLUMNS))


def _draws(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The draws of each kind that these targets allow."""
    found = {}
    for kind in ("easy", "hard"):
        try:
            found[kind] = draw_targets(labels, kind == "hard", np.random.default_rng(0))
        except Undecided:
            continue
    return found


if __name__ == "__main__":
    runtime.run(main)
