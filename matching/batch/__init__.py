"""Runs a batch of commands through the books and collects what follows. Nothing here does I/O."""
