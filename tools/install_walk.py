"""Walk docs/install.md on a real node; docs/install-transcript.md has what each command printed.

    python -m tools.install_walk [--output docs/install-transcript.md]

Runs the `sh` blocks of the page from the first to the last, as they stand there, in a clone of this
repository at HEAD. Takes what the page takes (helm and buildah on the PATH, root, BASE_IMAGE in the
environment where the usual one cannot be pulled) and Debian's docker-registry. What a lab has
otherwise than the page is in INSTEAD, and stands on the transcript.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import images, session  # noqa: E402 (path first)
from lab.node import Node  # noqa: E402
from lab.tickets import TicketService  # noqa: E402

PAGE, TRANSCRIPT = (ROOT / "docs" / name for name in ("install.md", "install-transcript.md"))
REGISTRY = "localhost:5000"
INSTEAD = {
    "docker push": "buildah push --tls-verify=false",
    "REGISTRY/ticket-service": "localhost/ticket-service",
    "REGISTRY": REGISTRY,
    ":TAG": ":0.1.0",
    "=TAG": "=0.1.0",
    ":NEW": ":0.1.1",
    "=NEW": "=0.1.1",
    # Prometheus is no pod there, and listens on the node's own loopback.
    "kubectl -n monitoring port-forward service/prometheus 9090 &": "",
}
OUTSIDE = re.compile(r"^make |pip install")
"""What loads packages: a node has no way out."""
MOST_LINES = 60
LIMIT_SECONDS = 1800
HISTORY_SECONDS = 75
HEAD = """# Transcript of docs/install.md

`python -m tools.install_walk` runs every command of [install.md](install.md) on a real node and
writes this page with its output; of more than {most} lines it shows the first and last. The node
runs the sample service as Deployment `ticket-service`, at twenty requests a second. REGISTRY is
`{registry}`, a registry on the node; buildah pushes instead of Docker. Prometheus is no pod
there, so no port is forwarded.
"""


def commands(block: str) -> Iterator[str]:
    """Cut a block into commands: those that a backslash or a here-document goes on with are one."""
    taken: list[str] = []
    ends_at = ""
    for line in block.splitlines():
        taken.append(line)
        opened = re.search(r"<<'?(\w+)'?", line)
        ends_at = opened[1] if opened else ends_at
        if line == ends_at:
            ends_at = ""
        if ends_at or line.endswith("\\"):
            continue
        yield "\n".join(taken)
        taken = []


def parts(page: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Give the page's headings, with the commands below each."""
    for part in re.split(r"^(?=##+ )", page, flags=re.MULTILINE):
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", part, re.DOTALL | re.MULTILINE)
        if blocks:
            yield part.splitlines()[0], [one for each in blocks for one in commands(each)]


class Walk:
    """A person at a shell, in a clone, with the node's network where that has all that it takes."""

    def __init__(self, lab: session.Session, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self._kept = folder / "environment"  # what `export` and `cd` leave to the next command
        self.lines: list[str] = []
        self.failed = 0
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)

    def run(self, command: str) -> None:
        for shown, here in INSTEAD.items():
            command = command.replace(shown, here)
        if not command:
            return
        print(f"$ {command}", flush=True)
        prefix = [] if OUTSIDE.search(command) else self._lab.network_prefix()
        script = f"{command}\ncode=$?; export -p > {self._kept}; exit $code"
        if self._kept.exists():
            script = f". {self._kept}\n{script}"
        done = subprocess.run(
            [*prefix, "bash", "-c", script],
            cwd=self._folder / "clone",
            env={**os.environ, **self._lab.environment(), "HOME": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
        said = [line.rstrip()[:400] for line in done.stdout.rstrip("\n").split("\n")]
        if len(said) > MOST_LINES:
            said = [*said[: MOST_LINES // 2], "[...]", *said[-MOST_LINES // 2 :]]
        status = [f"# exit status {done.returncode}"] if done.returncode else []
        self.failed += bool(done.returncode)
        print(*said, *status, sep="\n", flush=True)
        self.lines += [f"$ {command}", *said, *status, ""]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.install_walk", description=__doc__)
    parser.add_argument("--output", type=Path, default=TRANSCRIPT)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    for program in ("helm", "buildah", "docker-registry"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: install it, and put it on the PATH")
    archive = images.build("ticket-service")
    told = [HEAD.format(most=MOST_LINES, registry=REGISTRY)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="install-walk-")))
        lab = stack.enter_context(Node()).session
        stack.callback(_registry(lab, folder).terminate)
        lab.import_image(archive)
        service = TicketService(lab, "production")
        service.deploy("v1.2.3")
        stack.enter_context(service.load(20, folder))
        time.sleep(HISTORY_SECONDS)
        walk = Walk(lab, folder)
        for heading, found in parts(PAGE.read_text()):
            walk.lines = []
            for command in found:
                walk.run(command)
            told += [heading, "", "```console", *walk.lines[:-1], "```", ""]
    options.output.write_text("\n".join(told).rstrip() + "\n")
    print(f"{walk.failed} commands failed")
    return min(walk.failed, 1)


def _registry(lab: session.Session, folder: Path) -> subprocess.Popen[bytes]:
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '{REGISTRY}'}}\n"
    )
    argv = [*lab.network_prefix(), "docker-registry", "serve", str(settings)]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
