"""Tests of the chaos tool: its clients persist, its faults vary, and its checks find breaches."""
