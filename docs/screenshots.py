"""Take a picture of MLflow's page for a run, with a headless Chromium.

    python docs/screenshots.py runs/tiny-ablation docs

writes ``mlflow.png`` (the runs), ``mlflow_study.png`` (the parent run with the results in its
description) and ``mlflow_compare.png`` (all finished trials side by side) into the second folder.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from harness import tracking

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    "--hide-scrollbars",
]


def shoot(url: str, file: Path, size: str = "1600,1100") -> None:
    """Save what a browser window of this size shows of a page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium found: install it (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--screenshot={file}",
                   f"--window-size={size}", "--virtual-time-budget=25000", url]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=180)


def main(run: Path, out: Path) -> None:
    state = json.loads((run / "mlflow.json").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(tracking.ui_command(run.resolve().parent, port))
    base = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(base, timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        experiment = f"{base}#/experiments/{state['experiment']}"
        shoot(f"{experiment}/runs?workflowType=machine_learning", out / "mlflow.png")
        shoot(f"{experiment}/runs/{state['parent']}", out / "mlflow_study.png")
        shoot(base + tracking.compare_path(run), out / "mlflow_compare.png", "1600,2200")
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
