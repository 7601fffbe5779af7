"""The engine `ray` on a loopback cluster of two machines, one of which dies."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import execute_here

from hinas_nb import data
from hinas_nb.experiment.config import EvaluateConfig
from hinas_nb.experiment.runs import Run, grid
from hinas_nb.running import pool
from hinas_nb.running.compute import compute
from hinas_nb.running.pool import Work, execute
from hinas_nb.running.status import status
from hinas_nb.running.store import Store
from hinas_nb.scoring.protocol import get
from hinas_nb.subprocesses import ALLOCATOR

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray (extra cluster) is not installed")
IMAGES = 90
#: Read by Ray when it is imported: loopback only, no token in the home folder, no statistics.
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_register_timeout_seconds": "300",  # the machine may be busy
}
MACHINE = {"num_cpus": 1, "num_gpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
HEAD = MACHINE | {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}


@pytest.fixture(scope="module")
def ray():
    """The module, imported with our settings; what it writes is deleted."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets lie in it: their paths must be short
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SETTINGS | {"RAY_TMPDIR": folder}).items():
            patch.setenv(name, value)
        import ray

        # Workers cannot import this file.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield ray
    while os.path.exists(folder):  # its last processes may still write
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(ray):
    """Two machines with a CPU and, in name, a GPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    cluster.add_node(**MACHINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The evaluation of many small images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        data.write_image(folder / f"{index:03}.png", rng.integers(0, 256, (24, 24), dtype=np.uint8))
    return EvaluateConfig(model="input", data=f"folder:{folder}", split="all", protocol=get("denoise-standard"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


class Probe(Work):
    """What a Run would find where it is computed."""

    def __call__(self, seconds):
        import ray

        time.sleep(seconds)  # so that two are at work at once
        given = dict(line.split("=", 1) for line in Path("/proc/self/environ").read_text().split("\0") if line)
        seen = {name: given.get(name) for name in (*ALLOCATOR, "HINAS_DATA")}
        return ray.get_runtime_context().get_node_id(), seen | {"gpu": os.environ["CUDA_VISIBLE_DEVICES"]}


def test_a_run_has_a_gpu_of_its_own_and_the_environment_of_workers(cluster, store, noisy, monkeypatch, tmp_path):
    from hinas_nb.running.cluster import Cluster

    monkeypatch.setenv("HINAS_DATA", str(tmp_path))
    store.folder(noisy)
    engine = Cluster(Probe(store, "auto", 1))
    try:
        answers = [future.result() for future in [engine.submit(3), engine.submit(3)]]
    finally:
        engine.close()
    assert len({machine for machine, _ in answers}) == 2
    assert [seen for _, seen in answers] == [ALLOCATOR | {"HINAS_DATA": str(tmp_path), "gpu": "0"}] * 2


class Slow(Work):
    """Computes at a pace that does not depend on the machine, and notes who began what, and where."""

    def __call__(self, config):
        import ray

        folder = self.store.folder(config)
        with open(self.store.root / "starts", "a") as starts:
            place = ray.get_runtime_context().get_node_id()
            starts.write(f"{folder.hash} {place} {os.getpid()} {len(folder.records())}\n")
        for _ in compute(config, self.store, device="cpu"):
            time.sleep(0.05)
        return None, None


def test_what_a_lost_worker_and_a_lost_machine_had_computed_is_kept(cluster, store, noisy, monkeypatch):
    monkeypatch.setattr(pool, "Work", Slow)
    runs = grid(noisy, **{"evaluate.seed": [0, 1, 2]})
    folders = {store.folder(run.config).hash: store.folder(run.config) for run in runs}
    (machine,) = cluster.worker_nodes
    lost = []

    def starts() -> list[list[str]]:
        path = store.root / "starts"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def when_busy(but: str = "") -> tuple[str, str]:
        """A worker on the second machine that has just scored ten images, and its Run."""
        while True:
            for key, place, process, before in starts():
                if place == machine.node_id and process != but and len(folders[key].records()) >= int(before) + 10:
                    return process, key
            time.sleep(0.02)

    def kill() -> None:
        process, key = when_busy()
        lost.append((folders[key], folders[key].records()))
        os.kill(int(process), signal.SIGKILL)
        _, key = when_busy(but=process)
        lost.append((folders[key], folders[key].records()))
        cluster.remove_node(machine, allow_graceful=False)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert execute(runs, store, engine="ray", progress=False) == []
    thread.join(60)
    assert len(lost) == 2 and len(starts()) == len(runs) + 2, "each lost Run began once more, no other did"
    for folder in folders.values():
        names = [record["image"] for record in folder.records()]
        assert folder.done and names == sorted(set(names)) and len(names) == IMAGES
    for folder, before in lost:  # the last record may be newer than the checkpoint
        assert folder.records()[: len(before) - 1] == before[:-1], "the time each image took tells who computed it"


def test_more_threads_than_a_machine_has_are_one_line(cluster, store, noisy):
    with pytest.raises(ValueError, match="threads must be at most 1, as the cluster's largest"):
        execute([Run(noisy)], store, engine="ray", threads=2)


SCRIPT = """
import sys
from hinas_nb.experiment.config import EvaluateConfig
from hinas_nb.scoring.protocol import get
from hinas_nb.experiment.runs import Run
from hinas_nb.running.pool import execute
from hinas_nb.running.store import Store

config = EvaluateConfig(model="input", data=sys.argv[2], split="all", protocol=get("denoise-standard"))
execute([Run(config)], Store(sys.argv[1]), engine="ray")
"""


@pytest.mark.parametrize(("where", "how"), [("joined", signal.SIGKILL), ("own", signal.SIGINT)])
def test_an_interrupted_batch_leaves_no_process_and_goes_on(cluster, store, noisy, where, how):
    mark = f"/nowhere/{uuid.uuid4().hex}"  # workers are told where the data is
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HINAS_DATA": mark}
    if where == "own":
        environment |= {"RAY_ADDRESS": "", "RAY_TMPDIR": os.environ["RAY_TMPDIR"] + "/own"}
    command = [sys.executable, "-c", SCRIPT, str(store.root), noisy.data]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    folder = store.folder(noisy)
    while not folder.records():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    assert len(alive(mark)) >= 2
    os.killpg(process.pid, how)  # as a terminal does
    process.communicate(timeout=60)
    for _ in range(200):
        if not alive(mark) and status(store).state.tolist() != ["running"]:  # locks go after the processes' names
            break
        time.sleep(0.1)
    finished = len(folder.records()) == IMAGES  # Ray may take longer to end than the Run does
    assert alive(mark) == [] and status(store).state.tolist() == ["done" if finished else "interrupted"]
    assert execute_here([Run(noisy)], store, progress=False) == [] and len(folder.records()) == IMAGES


def alive(mark: str) -> list[str]:
    """Command lines of the processes that were started with this mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_text():
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def test_a_missing_ray_names_the_extra(store, noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "hinas_nb.running.cluster", raising=False)
    with pytest.raises(ValueError, match=r"^ray is not installed: pip install 'hinas_nb\[cluster\]'$"):
        execute([Run(noisy)], store, engine="ray")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_one_line(ray, store, noisy, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError, match=f"^Ray must answer at RAY_ADDRESS={address}, got .+$"):
        execute([Run(noisy)], store, engine="ray")
