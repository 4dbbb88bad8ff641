"""Tests of marketdata/."""
