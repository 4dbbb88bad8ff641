"""What the market sees: trades, candles, the order book by level, and the stream that carries them."""
