"""Public market data: trades, candles, tickers and the order book by price level."""
