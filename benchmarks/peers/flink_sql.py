"""Runs SQL on Flink in a cluster within one process, in PyFlink's environment: FILE, with settings and statements in JSON.

The last statement is an INSERT that never ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment


def main() -> None:
    """Run until told to stop."""
    job = json.loads(Path(sys.argv[1]).read_text())
    configuration = Configuration()
    for name, value in job["settings"].items():
        configuration.set_string(name, value)
    settings = (
        EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    )
    environment = TableEnvironment.create(settings)
    for statement in job["statements"][:-1]:
        environment.execute_sql(statement)
    environment.execute_sql(job["statements"][-1]).wait()


if __name__ == "__main__":
    main()
