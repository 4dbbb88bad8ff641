"""The tools by which operators compare books, audit and prune."""
