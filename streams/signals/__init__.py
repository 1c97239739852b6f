"""Safety signals from counts of reports: disproportionality, sequential monitoring and their calibration."""
