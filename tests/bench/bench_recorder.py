"""What following the MTA's log costs: it grows at a rate, and the processor time of the recorder is counted.

``python -m tests.bench.bench_recorder [PER_SECOND] [SECONDS] [EVERY_S]``: 100, 30 and a pass each second by default.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from popbox.hosts.following import FileFollower
from popbox.journey.recorder import Recorder
from popbox.journey.store import Store

LINES = """new msg {n}
info msg {n}: bytes {size} from <shop{box}@client.example> qp {n} uid 888
starting delivery {n}: msg {n} to local d-box{box}@d.example
status: local 1/10 remote 0/20
delivery {n}: success: did_1+0+0/
status: local 0/10 remote 0/20
end msg {n}
"""


def main() -> None:
    per_second, seconds, every_s = (float(one) for one in [*sys.argv[1:4], "100", "30", "1"][:3])
    folder = Path(tempfile.mkdtemp())
    with Store.open(folder / "journeys.db") as store, (folder / "log").open("a") as log:
        recorder = Recorder(store, lambda position: FileFollower(folder / "log", position))
        recorder.run_pass()
        spent, number, began = 0.0, 0, time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            due = int(now * per_second)
            for one in range(number, due):
                log.write(LINES.format(n=1_000_000 + one, box=one % 1000, size=900))
            number = due
            log.flush()
            cpu = time.process_time()
            recorder.run_pass()
            spent += time.process_time() - cpu
            time.sleep(every_s)
        share = spent / (time.monotonic() - began) * 100
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{number} messages in {seconds:.0f} s, a pass each {every_s:g} s: {share:.2f} % of a core,", end=" ")
        print(f"{spent / max(1, number) * 1e6:.0f} us a message; {memory:.0f} MiB")


if __name__ == "__main__":
    main()
