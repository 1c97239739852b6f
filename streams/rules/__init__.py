"""Alert rules: level crossings, departures from a key's own history, stuck and silent sensors."""
