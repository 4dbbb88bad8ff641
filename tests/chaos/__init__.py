"""The chaos tool itself: that its clients persist, its faults are varied, and its checks find what is broken."""
