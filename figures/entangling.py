"""What figures of the entanglement lens share: its networks with their names and looks, and its layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from figures.comparing import curve
from figures.names import REACHES, TEMPERATURES, layer_label, signed
from figures.results import Results

ENTANGLEMENT = "entanglement, nats"
PLAIN, ENTANGLED, CONTROL = "plain", "entangled", "control"
ROLES = {  # the networks that the claims compare
    PLAIN: ("plain", "#0072B2", "o"),
    ENTANGLED: ("entangled", "#D55E00", "s"),
    CONTROL: ("small activations", "#009E73", "^"),
}
COLOURS, MARKERS = ("#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "0.35"), ("D", "v", "P", "X", "p", "<", ">")
SIDE_BY_SIDE = 3  # networks that have a panel each
INSIDE, OUTSIDE = "#0072B2", "#D55E00"  # test images, and others


def entangled_networks(results: Results) -> pd.DataFrame:
    """What each network of the lens is, its label, colour and marker; those that the claims compare come first."""
    about = results.entanglement["networks"].drop_duplicates("network").set_index("network")
    about = about.assign(role=about["role"].fillna(""))
    about = about.sort_values("role", key=lambda roles: roles.map(_rank), kind="stable")
    others = (about["role"].map(_rank) == len(ROLES)).cumsum() - 1
    looks = [
        ROLES.get(row.role) or (network_label(row), COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for row, i in zip(about.itertuples(), others, strict=True)
    ]
    return about.assign(**dict(zip(("label", "colour", "marker"), zip(*looks, strict=True), strict=True)))


def _rank(role: str) -> int:
    return [*ROLES, role].index(role)


def network_label(network: Any) -> str:
    """What sets a network apart, such as "α −0.1, T tracked, first half"."""
    parts = [f"α {signed(network.alpha)}", f"T {TEMPERATURES[network.rule]}"] if network.alpha else []
    parts += [f"small activations {network.scale:g}"] if network.scale else []
    parts += ["shuffled labels"] if network.shuffled else []
    parts += [REACHES[network.layers]] if parts and REACHES[network.layers] else []
    return ", ".join(parts) or ROLES[PLAIN][0]


def among(results: Results, names: Iterable[str], most: int | None = None) -> pd.DataFrame:
    """The networks among some, those that the claims compare first; `most`, how many at most."""
    networks = entangled_networks(results)
    return networks[networks.index.isin(set(names))][:most]


def network_handles(networks: pd.DataFrame) -> list[plt.Line2D]:
    """Legend entries of networks."""
    return [
        plt.Line2D([], [], color=network.colour, marker=network.marker, label=network.label)
        for network in networks.itertuples()
    ]


def layers_of(rows: pd.DataFrame) -> pd.Series:
    """The layers of a network by their index, in order."""
    return rows.drop_duplicates("index").set_index("index")["layer"].sort_index()


def layer_axis(axis: Axes, layers: Sequence[str]) -> None:
    """Name the layers below an axis on which they stand at 0, 1, 2, ..."""
    axis.set_xticks(np.arange(len(layers)), [layer_label(layer) for layer in layers], rotation=90)
    axis.set_xlim(-0.3, len(layers) - 0.7)


def by_seed(rows: pd.DataFrame, x: str, value: str) -> pd.DataFrame:
    """A column of a table by seed (rows) and by x (columns)."""
    return rows.pivot_table(index="seed", columns=x, values=value)


def line(axis: Axes, rows: pd.DataFrame, x: str, value: str, network: Any, style: str = "-") -> None:
    """Draw a column of a network's rows over x: seeds thin, their mean thick; nothing without rows."""
    seeds = by_seed(rows, x, value)
    if len(seeds):
        curve(axis, seeds.columns.to_numpy(), seeds.to_numpy(), network.label, network.colour, network.marker, style)


def depth_colours(n: int) -> np.ndarray:
    """A colour for each of n layers, from dark to light with depth."""
    return plt.get_cmap("viridis")(np.linspace(0, 0.9, n))


def chance_line(axis: Axes, chance: float, label: str = "chance level") -> None:
    """A line where classes are mixed as if labels were drawn."""
    axis.axhline(chance, color="0.35", linestyle="--", linewidth=0.7, label=label)


def numbered(axis: Axes, values: np.ndarray, form: str, dark: float, fontsize: float = 6, **looks: Any) -> AxesImage:
    """Show a matrix with its numbers in it, white where a value is below `dark`, and blank where there is none."""
    image = axis.imshow(np.ma.masked_invalid(values), cmap="cividis", interpolation="nearest", aspect="auto", **looks)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < dark else "black"
            axis.text(column, row, format(value, form), ha="center", va="center", color=colour, fontsize=fontsize)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.set_facecolor("0.92")
    return image


def middle(values: Iterable[float]) -> float:
    """The middle one of some values, the smaller of the two where their number is even."""
    values = sorted(set(values))
    return values[(len(values) - 1) // 2]


def untargeted(attacks: Iterable[str]) -> list[str]:
    """The attacks that seek any other class, each once."""
    return [attack for attack in dict.fromkeys(attacks) if not attack.endswith("-targeted")]
