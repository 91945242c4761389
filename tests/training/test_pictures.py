"""Pictures, the class tree, settings and graph in TensorBoard's events, read back."""

import numpy as np
import pytest
import tensorflow as tf

import splitnet_tf as sn
from splitnet_tf.grouping import split_losses
from splitnet_tf.grouping.start import start_from_given
from splitnet_tf.stages.grouping_pictures import (
    GroupingPictures,
    picture,
    sorted_kernel,
)
from splitnet_tf.training.run_summaries import write_run


def read(folder):
    """Values by tag, and the graphs, of all event files."""
    values, graphs = {}, []
    for path in folder.glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                values[value.tag] = value
            if event.HasField("graph_def"):
                graphs.append(tf.compat.v1.GraphDef.FromString(event.graph_def))
    return values, graphs


def test_a_picture_is_dark_at_zero_and_bright_at_the_top():
    image = picture(np.array([[0.0, 1.0], [2.0, 2.0]]))
    assert image.shape == (1, 256, 256, 3) and image.dtype == np.uint8
    darkest, middle, brightest = (image[0, y, x].sum() for y, x in ((0, 0), (0, 255), (255, 0)))
    assert darkest < middle < brightest
    assert (image[0, 200, 10] == image[0, 200, 250]).all()
    assert picture(np.zeros((300, 2))).shape == (1, 300, 256, 3)


def test_a_kernel_of_blocks_is_block_diagonal_once_sorted():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 3, 12), rng.integers(0, 3, 9)
    kernel = rng.normal(size=(3, 3, 12, 9)) * (rows[:, None] == columns[None, :])
    found = sorted_kernel(kernel, np.eye(3)[:, rows], np.eye(3)[:, columns])
    inside = np.sort(rows)[:, None] == np.sort(columns)[None, :]
    assert (found[~inside] == 0).all() and (found[inside] > 0).all()
    assert np.square(found).sum() == pytest.approx(np.square(kernel).sum())


def test_events_hold_pictures_tree_settings_and_graph(tmp_path):
    model = sn.models.mlp((12, 24), 6, (4, 4, 3))
    plan = sn.SplitPlan.from_sections(model, [("fc2", 2), ("logits", 2)])
    grouped = sn.group_model(model, plan)
    losses = split_losses(grouped)
    start_from_given(losses, plan, np.array([0, 1, 0, 1, 0, 1]), "even")
    writer = tf.summary.create_file_writer(str(tmp_path))
    GroupingPictures(losses, plan, list("abcdef")).write(7, writer)
    write_run(writer, grouped, {"gamma3": 10.0, "splits": None, "devices": [], "augment": True})
    writer.close()
    values, graphs = read(tmp_path)
    spaces = [a.name.removeprefix("space_") for a in losses.assignments()]
    for name in spaces:
        shape = tf.io.decode_image(values[f"p_by_group/{name}"].tensor.string_val[2]).shape
        assert min(shape[:2]) >= 128 and shape[2] == 3
        assert values[f"p/{name}"].metadata.plugin_data.plugin_name == "histograms"
    assert {f"kernels_by_group/{n}" for n in ("fc2", "logits")} <= set(values)
    text = values["classes/tree"].tensor.string_val[0].decode()
    assert "**branch_1** (3): b, d, f" in text
    settings = values["_hparams_/session_start_info"].metadata.plugin_data.content
    assert b"gamma3" in settings and b"devices" in settings and b"splits" not in settings
    (graph,) = graphs
    assert sum(node.op == "MatMul" for node in graph.node) >= 3
