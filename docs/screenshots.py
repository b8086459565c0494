"""Take pictures of MLflow's page for a finished run, with a headless Chromium.

    python docs/screenshots.py runs/tiny-ablation docs

writes three files into the second folder: ``mlflow.png`` (the study, its trials and their scores),
``mlflow_curves.png`` (training curves, a line and a band for each setting over its seeds) and
``mlflow_compare.png`` (one seed of every trained arm side by side, differences only).

It needs Selenium (``pip install selenium``, no part of the project's own dependencies) and Debian's
packages ``chromium`` and ``chromium-driver``. What the pages show is put into the browser's local
storage, where MLflow 3.17 keeps it; the run's own store is not changed.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from harness.results.trackers.mlflow_client import ui_command

FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    "--hide-scrollbars",
]
WIDTH = 1600
SCORES = ("mathvista/accuracy", "mathverse/accuracy", "wemath/accuracy", "wemath/score_strict")
COLUMNS = [f"metrics.`{name}`" for name in (*SCORES, "train/reward", "train/label_accuracy")]
WIDTHS = {"attributes.`Run Name`": 305, "runDateAndNestInfo": 140, "duration": 80}
WIDTHS |= dict.fromkeys(COLUMNS, 146)
TABLE = {"selectedColumns": COLUMNS, "columnOrder": list(WIDTHS), "columnWidths": WIDTHS}
CURVES = "accuracy|kl|label_accuracy|majority_ratio|response_length|reward|semantic_entropy"
CURVES += "|unparsed|zero_variance_groups"
TIDY = """document.head.append(Object.assign(document.createElement('style'), { textContent: `
    .modebar-container { display: none }
    .react-resizable:has(.ag-root) { flex-basis: 400px !important; width: 400px !important }
    .CompareRunView * { max-height: none !important }` }))"""  # nothing covered, nothing cut


def page_state(experiment: str, parent: str, view: dict[str, Any]) -> dict[str, str]:
    """Local storage in which the assistant is shut, the study open and every run shown."""
    view = {"runsExpanded": {parent: True}, "runsHiddenMode": "SHOW_ALL", "orderByAsc": True} | view
    return {
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        "mlflow.assistant.panelOpen_v1": "false",
        "mlflow.workflowType_v1": '"machine_learning"',
        f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState': json.dumps(
            {"searchFilter": "", "orderByKey": "attributes.start_time"} | view
        ),
    }


def shoot(
    url: str, state: dict[str, str], ready: str, file: Path, height: int, *clicks: str
) -> None:
    """Open a page in a fresh browser, wait for six elements ``ready``, click, save a picture."""
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}"]:
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(url.split("#")[0] + "health")  # same origin, before the page's own scripts
            for item in state.items():
                browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", *item)
            browser.get(url)
            wait = WebDriverWait(browser, 120)
            wait.until(lambda page: len(page.find_elements("css selector", ready)) > 5)
            browser.execute_script(TIDY)
            for xpath in ["//button[@aria-label='Toggle sidebar']", *clicks]:
                browser.find_element("xpath", xpath).click()
            time.sleep(5)  # animations, and what arrives after the first rows
            browser.save_screenshot(str(file))
        finally:
            browser.quit()
    small = Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def main(run: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = json.loads((run / "mlflow.json").read_text())
    experiment, parent, trials = (state[key] for key in ("experiment", "parent", "trials"))
    swept = {factor for name in trials for factor in re.findall(r"--([\w.]+)=", name)}
    keys = [{"mode": "param", "groupByData": factor} for factor in ["arm", *sorted(swept)]]
    curves = {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys}}
    curves |= {"chartsSearchFilter": f"^train/({CURVES})$"}
    seed = next(iter(trials)).rpartition("-")[2]
    first = {name: t for name, t in trials.items() if name.endswith(f"-{seed}") and t["step"]}
    arms = [trial["run"] for name, trial in first.items() if "--" not in name]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}/"
    table, lines = page_state(experiment, parent, TABLE), page_state(experiment, parent, curves)
    runs = f"{base}#/experiments/{experiment}/runs?workflowType=machine_learning"
    asked = f"runs={quote(json.dumps(arms))}&experiments={quote(json.dumps([experiment]))}"
    compare = f"{base}#/compare-runs?{asked}"
    clicks = ["//*[text()='Visualizations']"]
    clicks += [f"//*[@aria-label='{part} - Show diff only']" for part in ("Parameters", "Metrics")]
    server = subprocess.Popen(ui_command(run.resolve().parent, port))
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(base, timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        cells, height = ".ag-center-cols-container [role=row]", 325 + 33 * len(trials)
        shoot(runs, table, cells, out / "mlflow.png", height)
        points = ".scatterlayer .trace"
        shoot(f"{runs}&compareRunsMode=CHART", lines, points, out / "mlflow_curves.png", 1400)
        shoot(compare, table, ".CompareRunView button", out / "mlflow_compare.png", 1500, *clicks)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
