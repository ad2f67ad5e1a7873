"""A client that is told which endpoints are ready, and asks one of them twenty times a second, until `stop` appears.

It does what every balancer does: an endpoint that does not answer is passed over for the next one, which is counted. A
request has failed when none of those it knew has answered. Its figures are in `requests.json` afterwards.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from itertools import cycle
from pathlib import Path

PORT = 18080
PERIOD = 0.05
TIMEOUT = 2.0

directory, addresses = Path(sys.argv[1]), json.loads(sys.argv[2])
stop = directory / "stop"
ready: tuple[str, ...] = ()


def over() -> bool:
    """Whether it was told to stop, or there is no scenario any more."""
    return stop.exists() or not (directory / "mesh").is_dir()


def look() -> None:
    """Keep `ready` as the mesh tells it; what was heard last holds while it does not answer."""
    global ready
    ask = ["beectl", "--dir", str(directory / "mesh"), "get", "pods", "-l", "app=web", "-o", "json"]
    while not over():
        said = subprocess.run(ask, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if said.returncode == 0:
            found = [
                addresses[pod["spec"]["nodeName"]]
                for pod in json.loads(said.stdout)["items"]
                for condition in pod["status"]["conditions"]
                if (condition["type"], condition["status"]) == ("Ready", "True")
            ]
            ready = tuple(found) or ready
        time.sleep(0.5)


def asks(address: str) -> bool:
    """Whether an endpoint answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}:{PORT}/", timeout=TIMEOUT) as answer:
        return bool(answer.status == 200)
    return False


watcher = threading.Thread(target=look)
watcher.start()
while not ready and not over():
    time.sleep(PERIOD)
figures = {"asked": 0, "passed_over": 0, "failed": 0}
(directory / "client-began").touch()
for turn in cycle(range(2)):
    if over():
        break
    figures["asked"] += 1
    known = ready
    for place in range(len(known)):
        if asks(known[(turn + place) % len(known)]):
            break
        figures["passed_over"] += 1
    else:
        figures["failed"] += 1
    time.sleep(PERIOD)
watcher.join()
if directory.is_dir():
    (directory / "requests.json").write_text(json.dumps(figures))
