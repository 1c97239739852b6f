"""``python -m tidewatch``."""

from tidewatch.cli import main

main()
