"""Runs the cells of a notebook in one namespace, and writes what they show into it.

    python -m tests.notebook docs/quickstart.ipynb

Each cell shows what it prints and the value of its last expression: figures as pictures, other
values as text. This is what Jupyter does with them, without its fifty packages.
"""

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image


def code_cells(path):
    """The cells of a notebook that hold code."""
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def run_cells(cells):
    """Runs cells in order; returns the namespace and the outputs of each."""
    names, outputs = {"__name__": "__main__"}, []
    for number, cell in enumerate(cells):
        body = ast.parse("".join(cell["source"]), f"cell {number}")
        last = body.body.pop() if isinstance(body.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(body, f"cell {number}", "exec"), names)
            value = None
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        outputs.append([*_stream(printed.getvalue()), *_result(value)])
    return names, outputs


def _stream(text):
    return [{"output_type": "stream", "name": "stdout", "text": _lines(text)}] if text else []


def _result(value):
    if value is None:
        return []
    if isinstance(value, Figure):
        drawn, picture = io.BytesIO(), io.BytesIO()
        value.savefig(drawn, format="png", dpi=60)
        Image.open(drawn).convert("RGB").quantize(64).save(picture, format="png", optimize=True)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
    else:
        data = {"text/plain": _lines(repr(value))}
    return [{"output_type": "display_data", "data": data, "metadata": {}}]


def _lines(text):
    return text.splitlines(keepends=True)


def main(path):
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    for cell, shown in zip(cells, run_cells(cells)[1], strict=True):
        cell["outputs"] = shown
    text = json.dumps(document, indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
