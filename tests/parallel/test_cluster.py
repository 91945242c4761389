"""Workers in processes of their own: the same answers, and a sentence when one is lost."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import keras
import pytest

import splitnet_tf as sn
from splitnet_tf.parallel.cluster import check_addresses, find_lost
from splitnet_tf.parallel.network import free_port, is_loopback, keep_to_interface, own_address
from splitnet_tf.storage.models import save_model
from tests.cli.forked import start

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)
LOST = "Worker 1 at 127.0.0.1:{port} is lost: "


class Workers:
    """Two workers; the second can be killed, frozen and put back."""

    def __init__(self, folder):
        self.ports = [free_port(), free_port()]
        self.logs = [folder / f"worker-{p}.log" for p in self.ports]
        self.processes = [self.start(0), self.start(1)]
        self.wait()

    def start(self, task):
        self.logs[task].write_text("")
        return start("worker", [f"--port={self.ports[task]}"], self.logs[task])

    def wait(self):
        for log, process in zip(self.logs, self.processes, strict=True):
            wait_until(lambda log=log: "Worker ready" in log.read_text(), process)

    def cpu_seconds(self):
        """Processor time of the second worker."""
        with open(f"/proc/{self.processes[1].pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        """Sends a signal to the second worker."""
        os.kill(self.processes[1].pid, number)

    def restart(self):
        self.processes[1].kill()
        self.processes[1].join()
        self.processes[1] = self.start(1)
        self.wait()

    def close(self):
        for process in self.processes:
            process.kill()
            process.join()

    @property
    def flag(self):
        return "--cluster=" + ",".join(f"127.0.0.1:{p}" for p in self.ports)


def wait_until(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.exitcode is None, f"ended with {process.exitcode}"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


@pytest.fixture
def workers(tmp_path):
    with contextlib.closing(Workers(tmp_path)) as found:
        yield found


@pytest.fixture(scope="module")
def lasting_workers(tmp_path_factory):
    with contextlib.closing(Workers(tmp_path_factory.mktemp("workers"))) as found:
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The run folder of a grouping, and in it a tree."""
    folder = tmp_path_factory.mktemp("base")
    model = sn.models.wide_resnet(10, 1, 8, (16, 16, 3))
    plan = sn.SplitPlan.from_sections(model, [("unit_2_0", 2)])
    grouping = sn.Grouping.even(plan)
    save_model(sn.group_model(model, plan), folder / "grouped.keras")
    grouping.save(folder / "grouping.json")
    sn.split_model(model, grouping, plan).save(folder / "tree.keras")
    return folder


class Program:
    """A program on planted data, in the background."""

    def __init__(self, name, base, folder, *flags):
        own = {
            # Many images one at a time: it is still running when a worker is lost.
            "evaluate": [
                f"--basemodel={base / 'tree.keras'}",
                "--images=train",
                "--batch_size=1",
                "--format=json",
            ],
            "split": [
                f"--basemodel={base}",
                "--batch_size=64",
                f"--train_dir={folder / 'run'}",
                "--max_steps=60",
                "--checkpoint_interval=10",
                "--val_interval=30",
                "--display=5",
            ],
        }[name]
        self.out, self.err = folder / "out", folder / "err"
        for file in (self.out, self.err):
            file.write_text("")
        own += ["--dataset=planted", "--preprocessing=whiten"]
        self.process = start(name, [*own, *flags], self.out, self.err)
        self.name = name

    def wait_until_busy(self, workers):
        if self.name == "split":
            saved = self.err.parent / "run" / "checkpoints"
            wait_until(lambda: list(saved.glob("step-*.npz")), self.process, 120)
            return
        before = workers.cpu_seconds()
        wait_until(lambda: workers.cpu_seconds() > before + 1, self.process, 120)

    def finish(self, seconds):
        self.process.join(seconds)
        code, error = self.process.exitcode, self.err.read_text()
        assert "Traceback" not in error, error[-2000:]
        return code, error


def lose(workers, program, number):
    """Sends a signal to the second worker; seconds until the program has ended, and how."""
    program.wait_until_busy(workers)
    start = time.monotonic()
    workers.signal(number)
    code, error = program.finish(120)
    return time.monotonic() - start, code, error


def check_result(program, folder, base):
    """No image lost and none counted twice, no step missing and none twice."""
    if program.name == "evaluate":
        placed = json.loads(program.out.read_text())
        alone = Program("evaluate", base, folder, "--batch_size=64")
        assert alone.finish(120)[0] == 0
        expected = json.loads(alone.out.read_text())["split"]
        for found in (placed["split"], placed.get("placed", placed["split"])):
            assert found["images"] == expected["images"]
            assert found["confusion"] == expected["confusion"]
            assert found["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-5)
        return
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["steps"] == 60
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [r["step"] for r in map(json.loads, lines) if "train/loss" in r]
    assert steps == list(range(5, 61, 5))


@pytest.mark.slow
def test_a_lost_worker_is_named(workers, base, tmp_path):
    program = Program("evaluate", base, tmp_path, workers.flag, "--worker_timeout=5")
    seconds, code, error = lose(workers, program, signal.SIGKILL)
    assert seconds < 30
    assert code == 1
    assert LOST.format(port=workers.ports[1]) + "nothing answers there" in error
    assert program.out.read_text() == ""  # no figure of half an evaluation


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate", "split"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("choice", ["stop", "local", "retry"])
def test_a_worker_is_lost(workers, base, tmp_path, name, number, choice):
    program = Program(
        *(name, base, tmp_path, workers.flag),
        *(f"--on_worker_loss={choice}", "--worker_timeout=5"),
    )
    if choice == "retry":
        program.wait_until_busy(workers)
        workers.signal(number)
        wait_until(lambda: "Waiting for it." in program.err.read_text(), program.process, 30)
        workers.restart()
        code, error = program.finish(120)
    else:
        seconds, code, error = lose(workers, program, number)
        assert choice == "local" or seconds < 30
    assert LOST.format(port=workers.ports[1]) in error
    if number == signal.SIGSTOP:
        assert "it does not answer within 5 s" in error
    if choice == "local":
        assert "Going on without workers." in error
    if choice != "stop" and name == "split":
        assert "resumed from" in error
    assert code == (1 if choice == "stop" else 0)
    if choice != "stop":
        check_result(program, tmp_path, base)


def test_the_workers_compute_what_one_process_computes(lasting_workers, base, tmp_path):
    program = Program(
        "evaluate", base, tmp_path, lasting_workers.flag, "--trunk=shard", "--batch_size=60"
    )
    assert program.finish(120)[0] == 0
    assert json.loads(program.out.read_text())["placed"]["trunk"] == "shard"
    check_result(program, tmp_path, base)


def test_a_worker_that_is_not_there_is_named():
    address = f"127.0.0.1:{free_port()}"
    assert str(find_lost([address], 5.0)) == (
        f"Worker 0 at {address} is lost: nothing answers there."
    )


def test_what_answers_may_be_no_worker_or_answer_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        assert "does not answer within 1 s" in str(find_lost([address], 1.0))
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("wrong", ["", "host", "host:", "host:0", "host:70000", "a b:1", "x:y"])
def test_wrong_addresses(wrong):
    with pytest.raises(sn.ClusterError, match=f"'{wrong}' is no worker's address"):
        check_addresses(["127.0.0.1:4601", wrong])


def test_addresses_once_each():
    assert check_addresses(["a:1", "[::1]:2"]) == ("a:1", "[::1]:2")
    for wrong in ([], ["a:1", "a:1"]):
        with pytest.raises(sn.ClusterError, match="each once"):
            check_addresses(wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a socket to an interface")
def test_a_port_is_kept_to_an_interface():
    with socket.create_server(("0.0.0.0", 0)) as server, socket.create_server(("", 0)) as other:
        port = server.getsockname()[1]
        keep_to_interface(port, "any")
        assert interface_of(server) == ""
        keep_to_interface(port, "lo")
        assert interface_of(server) == "lo"
        assert interface_of(other) == ""
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(sn.ClusterError, match="interface 'none0'.*there are lo"):
            keep_to_interface(port, "none0")
    with pytest.raises(sn.ClusterError, match="No socket of this process"):
        keep_to_interface(port, "lo")


def interface_of(server):
    found = server.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 32)
    return found.rstrip(b"\0").decode()


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss is not here to ask")
def test_a_worker_listens_on_loopback_alone(lasting_workers):
    found = subprocess.run(["ss", "-ltn"], capture_output=True, text=True)
    for port in lasting_workers.ports:
        assert f"%lo:{port} " in found.stdout


def test_own_addresses():
    assert own_address("127.0.0.1:4601") == "127.0.0.1"
    assert is_loopback("127.0.0.1:1") and is_loopback("[::1]:1") and is_loopback("localhost:1")
    assert not is_loopback("192.0.2.1:1")
    assert not is_loopback("no.such.host.invalid:1")
