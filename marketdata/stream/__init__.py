"""The WebSocket stream: one feed an instrument in each API process, and a bounded queue for each client."""
