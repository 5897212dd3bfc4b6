"""The checks that npm brings, each with a lock in a folder of its own. Not a test itself."""

import fcntl
import hashlib
import subprocess
from pathlib import Path


def install(folder: Path) -> None:
    """Install what a folder's package-lock.json says, once; the processes of a suite wait for each other."""
    modules = folder / "node_modules"
    modules.mkdir(exist_ok=True)
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    with (folder / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (modules / ".of").is_file() and (modules / ".of").read_text() == wanted:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        npm = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        assert npm.returncode == 0, f"{' '.join(command)} in {folder}:\n{npm.stderr}"
        (modules / ".of").write_text(wanted)
