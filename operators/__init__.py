"""The operators' tools: the admin, commands to halt and move instruments, and the audit trail."""
