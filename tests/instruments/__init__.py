"""Tests of instruments/."""
