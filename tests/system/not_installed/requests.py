"""A stand-in for the package `requests`, which only tests need. See `RunningExchange`."""

raise ImportError("requests is not a dependency of the exchange")
