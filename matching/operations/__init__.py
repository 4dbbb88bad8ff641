"""What operators do with a partition's data: compare books, audit, prune."""
