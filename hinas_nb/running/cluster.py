"""The engine `ray` computes Runs on the machines of a Ray cluster (extra `cluster`).

The cluster at RAY_ADDRESS is joined (`auto`: that of `ray start` here); without it one is started on this machine.
Ray places each Run where a GPU is free (where there are none: as many CPUs as it has threads), keeps others off them
and tells when a worker or a machine is lost: the Run goes on elsewhere from its last checkpoint. So all machines must
have this package, and results and data under the same paths, on a file system that locks across machines (as NFS 4).
"""

import math
import os
import platform
import socket
from concurrent.futures import Future

import ray
from ray import exceptions

from hinas_nb import locations
from hinas_nb.files import error_line
from hinas_nb.subprocesses import ALLOCATOR


class Cluster:
    """Takes all Runs at once: what does not fit waits in Ray's queue. The machine of `ray start --head` must live."""

    size = math.inf
    lost = (
        exceptions.LocalRayletDiedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.WorkerCrashedError,
    )

    def __init__(self, work):
        self._joined = not ray.is_initialized()
        if self._joined:
            # Not where Ray would look by itself: an address left by a cluster that died costs it ten minutes.
            address = os.environ.get("RAY_ADDRESS") or "local"
            try:
                _knock(address)
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            except Exception as error:
                raise ConnectionError(f"Ray must answer at RAY_ADDRESS={address}, got {error_line(error)}") from None
        self._work, self._refs = work, []
        try:
            needs = _resources(work.threads, work.device)
        except ValueError:
            self.close()
            raise
        self._task = ray.remote(_compute).options(**needs, max_retries=0, runtime_env={"env_vars": _environment()})

    def submit(self, config) -> Future:
        self._refs.append(self._task.remote(self._work, config))
        return self._refs[-1].future()

    def close(self) -> None:
        """End our Runs at once, and a cluster that was started for them."""
        for ref in self._refs:
            ray.cancel(ref, force=True)
        if self._joined:
            ray.shutdown()


def _knock(address: str) -> None:
    """Check that somebody listens at the address, or raise OSError: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _resources(threads: int, device: str) -> dict[str, int]:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpu = int(device != "cpu" and any(machine.get("GPU", 0) >= 1 for machine in machines))
    most = max(int(machine.get("CPU", 0)) for machine in machines if machine.get("GPU", 0) >= gpu)
    if threads > most:
        raise ValueError(f"threads must be at most {most}, as the cluster's largest machine has CPUs, got {threads}")
    return {"num_cpus": threads, "num_gpus": gpu}


def _environment() -> dict[str, str]:
    """Return the allocator of workers, unless the user has set it, and where the data is: workers start anywhere."""
    allocator = {name: os.environ.get(name, value) for name, value in ALLOCATOR.items()}
    return allocator | {"HINAS_DATA": str(locations.data())}


def _compute(work, config) -> tuple[str | None, str | None]:
    noted = work.store.root / "data.json"  # written when the Runs were planned
    if not noted.exists():
        return f"results must lie in a folder that all machines share, got no {noted} on {platform.node()}", None
    return work(config)
