"""What `serve` is made of: the embedded servers, the worker and the API as children of one process."""
