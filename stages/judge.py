"""Ask every judge which of target and seed image each IRI looks like."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv, write_csv
from fourlenses.errors import UserError
from fourlenses.invariance.alignment import tabulate
from fourlenses.invariance.judges import JUDGES, PANEL, choose, control, find_lpips, look, sanity
from fourlenses.invariance.unit import Unit
from fourlenses.nets.zoo import load_trunks
from fourlenses.params import read_params


def main(trunks: Path, iris: Path, tables: Path, answers: Path, alignment: Path, judges: Path) -> None:
    """Ask every judge which of target and seed image each IRI looks like.

    Args:
        trunks: the judges' networks (safetensors)
        iris: folder of the IRIs of each network (safetensors)
        tables: folder of the errors of each network's IRIs (CSV)
        answers: one row per IRI with every judge's answer (CSV)
        alignment: alignment by network, loss and judge, with intervals (CSV)
        judges: what each judge is, and whether it passes the sanity checks (CSV)
    """
    params = read_params()
    networks = params.networks
    n_resamples = params.judge.n_bootstrap
    decides = {"networks": {name: spec.model_dump() for name, spec in networks.items()}, "n_bootstrap": n_resamples}
    inputs = [trunks] + [path for name in networks for path in (iris / f"{name}.safetensors", tables / f"{name}.csv")]
    with runtime.stage("judge", decides=decides, inputs=inputs, outputs=[answers, alignment, judges]):
        device = runtime.device()
        networks_of_judges = load_trunks(trunks, device)
        distances = {name: judge.build(networks_of_judges) for name, judge in JUDGES.items()}
        about = [{"judge": name, "description": judge.description} for name, judge in JUDGES.items()]
        signed = control(networks_of_judges["standard"], runtime.generator("control", device=device))
        distances |= signed
        about += [{"judge": name, "description": "J1 with signed random channel weights"} for name in signed]
        missing = []
        for net in params.judges.lpips:
            lpips, status = find_lpips(net, _weight_folders())
            row = {"judge": f"lpips-{net}", "description": f"LPIPS v0.1, calibrated, on {net}"}
            if lpips is None:
                missing.append(row | {"panel": 0, "status": status})
            else:
                distances[f"lpips-{net}"] = lpips
                about.append(row)

        rows = []
        for network in runtime.progress(networks, "judge"):
            tensors, _ = load_tensors(iris / f"{network}.safetensors")
            targets = {"test": tensors["targets"].to(device)}
            if "noise_targets" in tensors:
                targets["noise"] = tensors["noise_targets"].to(device)
            at_targets, at_seeds = {kind: look(distances.values(), x) for kind, x in targets.items()}, {}
            table = read_csv(tables / f"{network}.csv")
            last = table["epoch"].max()
            for (seed, epoch, loss, start, kind), cell in table.groupby(
                ["seed", "epoch", "loss", "seed_image", "targets"], sort=False
            ):
                unit = Unit(loss, start, kind, None if epoch == last else epoch)
                x = tensors[f"{unit.key(seed)}/x"].to(device)
                if start not in at_seeds:
                    at_seeds[start] = look(distances.values(), tensors[f"seed_images/{start}"].to(device)[None])
                seen = look(distances.values(), x)
                cell = cell.drop(columns=["label"]).reset_index(drop=True)
                spec = networks[network]
                about_network = {
                    "architecture": spec.architecture, "recipe": spec.recipe, "augment": spec.augment, "beta": spec.beta
                }  # fmt: skip
                for place, (name, value) in enumerate(about_network.items(), 1):
                    cell.insert(place, name, value)
                for name, judge in distances.items():
                    to_target = judge.between(seen[judge.see], at_targets[kind][judge.see])
                    to_seed = judge.between(seen[judge.see], _spread(at_seeds[start][judge.see], len(x)))
                    cell[name] = choose(to_target, to_seed).cpu().numpy()
                rows.append(cell)
        seed_image = tensors[f"seed_images/{params.invert.seed_images[0]}"].to(device)
        checks = [
            row | sanity(distances[row["judge"]], targets["test"], seed_image) | {"panel": int(row["judge"] in PANEL)}
            for row in about
        ]
        for row in checks:
            if row["panel"] and not row["passes"]:
                given = f"judge {row['judge']} scores {row['target_score']} on targets, {row['seed_score']} on seeds"
                raise UserError(given, "exactly 100 and 0", "mend the judge: nothing it says can be used")

        wide = pd.concat(rows, ignore_index=True)
        write_csv(answers, wide)
        stream = np.random.default_rng(0)
        write_csv(alignment, tabulate(wide, list(distances), PANEL, n_resamples, stream))
        write_csv(judges, pd.DataFrame([row | {"status": "used"} for row in checks] + missing))


def _spread(seen: torch.Tensor | list[torch.Tensor], n: int) -> torch.Tensor | list[torch.Tensor]:
    """What a judge sees of one image, for n."""
    return [_spread(each, n) for each in seen] if isinstance(seen, list) else seen.expand(n, *seen.shape[1:])


def _weight_folders() -> list[Path]:
    """Where the trunk weights of LPIPS may lie: the mirror, and the folder that torch.hub downloads to."""
    mirror = runtime.mirror()
    return ([mirror] if mirror else []) + [Path(torch.hub.get_dir()) / "checkpoints"]


if __name__ == "__main__":
    runtime.run(main)
