"""Placements against the network's bandwidth: measured here, and what FLOPs and bytes predict.

``python -m tests.bandwidth docs/bandwidth`` runs the benchmark on two workers in a network of its
own whose loopback interface is slowed down (Linux, root, ``unshare``, ``tc``), and writes
``.json`` and ``.png``.
"""

import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

GBITS = (0.1, 0.3, 1.0, 4.0)
ROWS = ("deep replicate", "deep separate", "deep shard")
IMAGE = 4 * 32 * 32 * 3
BATCH = 100


def measure(gbits: float, rows=ROWS) -> dict:
    """The benchmark's document with so many Gbit/s of loopback, both ways together."""
    kbits = round(1e6 * gbits)
    shape = f"tc qdisc add dev lo root tbf rate {kbits}kbit burst {max(256, kbits // 1000)}kb"
    program = f"{sys.executable} -m splitnet_tf.cli.benchmark --format=json --batch_size={BATCH}"
    command = f"ip link set lo up && {shape} latency 100ms && {program} '--rows={','.join(rows)}'"
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", command], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def images_sent(row: str) -> int:
    """To how many devices an image goes."""
    return 2 if row.endswith("replicate") else 1


def predicted(row: dict, ms_per_image: float, gbits: float) -> float:
    """ms an image: computing, or sending when that takes longer, as the two overlap."""
    sent = row["bytes_crossing_per_image"] + images_sent(row["name"]) * IMAGE
    return max(ms_per_image, 1000 * 8 * sent / (1e9 * gbits))


def speed_up(point: dict, name: str) -> float:
    """Over the unsplit network on one device, in the same run."""
    rows = {r["name"]: r for r in point["rows"]}
    return point["rows"][0]["ms_per_image"] / rows[name]["ms_per_image"]


def plot(points: list[dict], path: Path) -> None:
    """Measured points, and the curves that the fastest network's go on as."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    fastest = {r["name"]: r for r in points[-1]["rows"]}
    one = points[-1]["rows"][0]["ms_per_image"]
    curve = [10 ** (k / 50) for k in range(-75, 51)]
    for color, name in zip(("#4878a8", "#c44e52", "#55a868"), ROWS, strict=True):
        row = fastest[name]
        predictions = [one / predicted(row, row["ms_per_image"], g) for g in curve]
        axes.semilogx(curve, predictions, color=color)
        measured = [speed_up(p, name) for p in points]
        axes.semilogx([p["gbits"] for p in points], measured, "o", color=color, label=name)
    axes.axhline(1, color="gray", lw=0.8)
    axes.set_ylim(0)
    axes.set_xlabel("Gbit/s, both ways together")
    axes.set_ylabel("speed-up over one device unsplit")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    target = Path(sys.argv[1])
    points = []
    for gbits in GBITS:
        points.append({"gbits": gbits, **measure(gbits)})
        print(gbits, [(r["name"], round(r["ms_per_image"], 2)) for r in points[-1]["rows"]])
        target.with_suffix(".json").write_text(json.dumps(points, indent=1) + "\n")
    plot(points, target.with_suffix(".png"))


if __name__ == "__main__":
    main()
