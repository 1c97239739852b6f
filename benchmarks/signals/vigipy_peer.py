"""Times vigipy on pairs given as JSON rows on stdin; run by the Python of its own environment."""

import json
import sys
import time

import pandas as pd
from vigipy import convert, gps, prr, ror


def main() -> None:
    """Print the seconds each method took."""
    rows = pd.DataFrame(json.load(sys.stdin), columns=["name", "AE", "count"])
    rows["name"], rows["AE"] = "d" + rows["name"].astype(str), "e" + rows["AE"].astype(str)
    started = time.perf_counter()
    container = convert(rows)
    found: dict[str, float | str] = {"convert_s": round(time.perf_counter() - started, 3)}
    for name, method in (("prr", prr), ("ror", ror), ("gps", gps)):
        started = time.perf_counter()
        try:
            method(container, min_events=1)
        except Exception as error:  # a peer that fails is reported as failing
            found[name] = f"{type(error).__name__}: {error}"[:200]
        else:
            found[f"{name}_s"] = round(time.perf_counter() - started, 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
