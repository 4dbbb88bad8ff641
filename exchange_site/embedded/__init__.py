"""A real PostgreSQL and a real Valkey out of pip wheels, in the data folder, for machines that have neither."""
