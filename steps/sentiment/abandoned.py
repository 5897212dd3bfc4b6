"""Runs that a killed process or a power cut has left RUNNING: known by the process that they name, and closed."""

import socket

import mlflow
import psutil


def this_process() -> str:
    """Return what a run calls this process: machine, number and beginning, which no other process shares."""
    return _name(psutil.Process())


def _name(process: psutil.Process) -> str:
    return f"{socket.gethostname()} {process.pid} {process.create_time():.2f}"


def close() -> None:
    """Mark the runs of this machine KILLED whose process is gone; of other machines it cannot be known."""
    ours = f"attributes.status = 'RUNNING' and tags.process LIKE '{socket.gethostname()} %'"
    for run in mlflow.search_runs(search_all_experiments=True, filter_string=ours, output_format="list"):
        pid = int(run.data.tags["process"].split()[1])
        try:
            there = _name(psutil.Process(pid)) == run.data.tags["process"]
        except psutil.NoSuchProcess:
            there = False
        if not there:
            mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
