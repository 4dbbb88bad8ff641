"""The trading screen in a real browser, on a real exchange."""
