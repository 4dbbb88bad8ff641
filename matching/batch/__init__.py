"""Runs a batch of commands through the books and collects their effects. Nothing here does I/O."""
