"""A folder as the root file system of the binary."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from kit.paths import BINARY, IMAGES
from kit.rondel import mirror_of
from kit.waiting import eventually


def libraries() -> list[str]:
    """The files that the binary needs to start. None when it is static."""
    said = subprocess.run(["ldd", str(BINARY)], text=True, capture_output=True, check=False)
    return re.findall(r"(/\S+) \(0x", said.stdout)


class RootTree:
    """A folder that becomes the root of the binary. What the kernel shows is mounted there for each command."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for library in libraries():
            place = folder / library[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
        shutil.copy(BINARY, folder / "rondel")
        (folder / "config.toml").write_text(mirror_of(Path("/images"), offline=False))

    def run(self, *words: str, stdin: str = "", kernel: bool = True) -> str:
        # The root of a container is a mount.
        mounts = ["mount --make-rprivate /", f"mount --bind {self.folder} {self.folder}"]
        if kernel:
            for place, what in [("proc", "-t proc proc"), ("sys", "--rbind /sys"), ("dev", "--rbind /dev"), ("images", f"--bind {IMAGES}")]:
                (self.folder / place).mkdir(exist_ok=True)
                mounts.append(f"mount {what} {self.folder / place}")
        script = " && ".join([*mounts, f'exec chroot {self.folder} /rondel "$@"'])
        environment = {"PATH": os.environ["PATH"], "RONDEL_STATE_DIR": "/s", "RONDEL_CONFIG": "/config.toml"}
        ran = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *words],
            input=stdin, text=True, capture_output=True, env=environment, cwd="/", timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{words}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def stop(self) -> None:
        self.run("engine", "stop")
        eventually(lambda: not (self.folder / "s/engine.sock").exists(), what="the engine to be gone")
