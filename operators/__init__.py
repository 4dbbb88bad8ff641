"""What operators need: the admin, the commands to halt and move instruments, and the trail of their acts."""
