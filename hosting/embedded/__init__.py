"""A PostgreSQL and a Valkey from pip wheels, for machines that have neither."""
