"""Public market data: lists of trades, candles, tickers and the order book by price level."""
