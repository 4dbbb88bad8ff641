"""The parts of `serve`: one process with the embedded servers, workers and the API as children."""
