"""Table 5, speed-ups of parallel evaluation, as cells of a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

SPEED_UP_HEADER = (
    *("", "ms/image", "spread", "speed-up", "bound", "paper"),
    *("KiB crossing/image", "params/device", "peak MiB"),
)


def speed_up_cells(document: dict) -> list[tuple[str, ...]]:
    """Makes the cells of a table, one line a way to compute, under ``SPEED_UP_HEADER``.

    Args:
      document: dict that ``splitnet_tf.cli.benchmark`` prints as JSON.
    """
    return [
        (
            r["name"],
            f"{r['ms_per_image']:.2f}",
            f"{100 * r['spread']:.1f}%",
            f"{r['speed_up']:.2f}x",
            f"{r['bound']:.2f}x",
            "-" if r["paper"] is None else f"{r['paper']:.2f}x",
            f"{r['bytes_crossing_per_image'] / 1024:.1f}",
            f"{100 * r['params_share']:.0f}%",
            "-" if r["peak_bytes"] is None else f"{r['peak_bytes'] / 2**20:.0f}",
        )
        for r in document["rows"]
    ]


def draw_speed_ups(document: dict, path: str | Path) -> None:
    """Draws speed-ups as bars, each with its bound by FLOPs and the paper's speed-up.

    Args:
      document: see ``speed_up_cells``.
      path: path of the image; the suffix chooses the format.
    """
    rows = document["rows"][1:]
    figure = Figure(figsize=(8, 0.32 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [r["speed_up"] for r in rows], color="#4878a8", label="measured")
    axes.plot([r["bound"] for r in rows], places, "k|", markersize=12, label="bound by FLOPs")
    known = [(r["paper"], i) for i, r in enumerate(rows) if r["paper"]]
    if known:
        axes.plot(*zip(*known, strict=True), "o", color="#c44e52", ms=4, label="paper, GPUs")
    axes.axvline(1, color="gray", lw=0.8)
    axes.set_yticks(places, [r["name"] for r in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"speed-up over one device ({len(document['devices'])} devices)")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=150)
