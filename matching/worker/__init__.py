"""The matching worker of one partition. worker.py is its main loop."""
