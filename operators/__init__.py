"""What the people do who run the exchange: the admin, the commands to halt and move, and the trail of their acts."""
