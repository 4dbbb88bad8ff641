"""In place of the package, which only tests need: see `RunningExchange`."""

raise ImportError("requests is not among what an exchange needs")
