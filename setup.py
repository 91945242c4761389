"""Packaging of splitnet_tf."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "splitnet_tf/__init__.py").read_text())[1]

setup(
    name="splitnet-tf",
    version=VERSION,
    description="SplitNet (ICML 2017) on TensorFlow 2 and Keras 3: classifiers as parallel trees",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["splitnet_tf", "splitnet_tf.*"]),
    package_data={
        "splitnet_tf.data": ["*.json"],
        "splitnet_tf.report": ["templates/*"],
    },
    install_requires=[
        "absl-py>=2.0",
        # Keras 3.15.1 mends the loading of hostile files; it needs Python 3.11. On 3.10 the
        # newest Keras that there is gets installed: load no model files from strangers there.
        'keras>=3.15.1; python_version >= "3.11"',
        'keras>=3.10; python_version < "3.11"',
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.4",
        "matplotlib>=3.8",
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.7",
        "importlib_resources>=6.0",  # imported by tensorflow-datasets, not declared there
        "tensorboard>=2.20",
        "tqdm>=4.66",
        "h5py>=3.10",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "grpcio>=1.60",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.8",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "jax>=0.6",
            "onnx>=1.20",
            "tf2onnx>=1.17",
            "onnxruntime>=1.23",
            "ai-edge-litert>=2.1",
        ],
        "wordnet": ["nltk>=3.8"],
        # Timed beside ours by splitnet-benchmark --cases=peers, where it is installed.
        "peers": ["torch"],
        # Sets that tensorflow-datasets prepared as ArrayRecords; on Linux it brings the package.
        "records": ["array-record>=0.5"],
        # ONNX to be written; what ONNX and LiteRT files are checked with.
        "export": [
            "onnx>=1.20",
            "tf2onnx>=1.17",
            "onnxruntime>=1.23",
            "ai-edge-litert>=2.1",
        ],
    },
    entry_points={
        "console_scripts": [
            "splitnet-group=splitnet_tf.cli.group:cli",
            "splitnet-split=splitnet_tf.cli.split:cli",
            "splitnet-sparsify=splitnet_tf.cli.sparsify:cli",
            "splitnet-shrink=splitnet_tf.cli.shrink:cli",
            "splitnet-divide=splitnet_tf.cli.divide:cli",
            "splitnet-evaluate=splitnet_tf.cli.evaluate:cli",
            "splitnet-cost=splitnet_tf.cli.cost:cli",
            "splitnet-export=splitnet_tf.cli.export:cli",
            "splitnet-report=splitnet_tf.cli.report:cli",
            "splitnet-search=splitnet_tf.cli.search:cli",
            "splitnet-compare=splitnet_tf.cli.compare:cli",
            "splitnet-worker=splitnet_tf.cli.worker:cli",
            "splitnet-benchmark=splitnet_tf.cli.benchmark:cli",
        ]
    },
)
