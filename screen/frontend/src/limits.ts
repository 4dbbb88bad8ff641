/** Every bound of the data layer: of lists, caches, waits and retries. Each has its unit in its name.
 *
 * The exchange's own limits are in docs/api.md. Those that matter here are stated beside the bounds
 * that keep within them.
 */

// Decimals

/** Digits before and digits after the point. The exchange refuses more. */
export const DECIMAL_DIGITS_MAX = 30;
/** Characters of a number that `JSON.parse` reads exactly. A double holds any 15 digits. */
export const EXACT_NUMBER_CHARACTERS_MAX = 15;

// Painting

/** A hidden page has no frames. Its signals change at this pace. */
export const HIDDEN_FRAME_MS = 1_000;
/** The parts beside the book are drawn after this time if there is no book yet. */
export const FIRST_BOOK_MS_MAX = 800;

// Connection

export const RECONNECT_MS_MIN = 250;
export const RECONNECT_MS_MAX = 5_000;
/** After 1008: the exchange found that the screen asks for too much. */
export const RECONNECT_REFUSED_MS_MIN = 5_000;
/** A connection that takes longer to open is given up. */
export const CONNECT_MS_MAX = 10_000;
export const WATCH_INTERVAL_MS = 1_000;
export const PING_INTERVAL_MS = 5_000;
/** Time without any message after a ping. The connection is replaced after it. */
export const SILENCE_MS_MAX = 8_000;
/** The same after the page was asleep: a dead connection is likely then. */
export const SILENCE_AFTER_SLEEP_MS_MAX = 2_500;
/** A watchdog that comes so much too late has slept, or the clock was changed. */
export const SLEEP_MS_MIN = 4_000;
/** Sent messages in a second. The exchange closes the connection at more than 50 frames. */
export const SENT_PER_SECOND_MAX = 20;
/** Messages that wait for their turn to be sent. */
export const SEND_QUEUE_MAX = 200;
/** How often round trip and lateness are shown. */
export const MEASURE_INTERVAL_MS = 500;
/** Channel x instrument of one connection. More close the connection. */
export const SUBSCRIPTIONS_MAX = 100;
/** Subscriptions of the selected instrument: book, trades and candles. */
export const SUBSCRIPTIONS_OF_SELECTED = 3;
export const RESUBSCRIBE_MS_MIN = 1_000;
export const RESUBSCRIBE_MS_MAX = 10_000;
/** After this time without a new subscription, the next one does not wait. */
export const RESUBSCRIBE_CALM_MS = 30_000;
/** A snapshot of a large book may take seconds. After this time it is asked for again. */
export const SNAPSHOT_MS_MAX = 15_000;

// The exchange's clock

export const CLOCK_SAMPLES_MAX = 8;
export const CLOCK_SAMPLE_AGE_MS_MAX = 600_000;
export const CLOCK_INTERVAL_MS = 60_000;
/** Requests when a connection has opened. The fastest one counts. */
export const CLOCK_BURST = 3;
export const CLOCK_BURST_PAUSE_MS = 100;
/** Answers are slow while a page starts, so some more are wanted soon. */
export const CLOCK_SETTLED_SAMPLES = 6;
export const CLOCK_SETTLING_MS = 5_000;
/** Between requests while the time is unknown. */
export const CLOCK_PAUSE_MS = 2_000;
/** A message this much before the estimated time shows that the estimate is wrong. */
export const CLOCK_ERROR_MS_MAX = 100;

// The market

export const BOOK_LEVELS_SHOWN_MAX = 500;
export const TRADES_MAX = 200;
export const CANDLES_MAX = 5_000;
/** Of one page; the exchange's bound is 1,000. */
export const CANDLES_PAGE = 500;
export const CANDLES_CATCH_UP = 1_000;
export const INSTRUMENTS_MAX = 1_000;
/** The stream does not tell of a halt, so the list is read at this pace. */
export const INSTRUMENTS_POLL_MS = 5_000;
/** Tickers of instruments beyond the bound of subscriptions are read at this pace. */
export const TICKERS_POLL_MS = 5_000;

// The client's orders and fills

export const OPEN_ORDERS_MAX = 2_000;
export const HISTORY_MAX = 1_000;
export const FILLS_SHOWN_MAX = 2_000;
export const ROWS_PAGE = 100;
/** Ids of orders that ended or vanished, so that an old answer does not bring them back. */
export const ENDED_ORDERS_MAX = 5_000;
export const ORDERS_PAGE_MAX = 1_000;
/** Pages of 1,000 open orders that are read if a snapshot is not complete. */
export const OPEN_ORDERS_PAGES_MAX = 2;
/** Orders that ended while the screen was not connected, and are asked for one by one. */
export const VANISHED_ORDERS_MAX = 50;
/** Fills from which positions are calculated, and of which the latest are shown. */
export const POSITION_FILLS_MAX = 10_000;
export const FILLS_PAGE = 1_000;
/** Lost fills are looked for from this long before the newest known one. */
export const FILLS_OVERLAP_MS = 5_000;

// Requests

export const READ_MS_MAX = 10_000;
export const READ_ATTEMPTS_MAX = 6;
export const READ_RETRY_MS_MIN = 500;
export const READ_RETRY_MS_MAX = 8_000;
/** The exchange answers an order within 3 s, if only to say that it does not know. */
export const ORDER_MS_MAX = 6_000;
/** An order is not sent for the first time, or again, later than this after the click. */
export const RESEND_MS_MAX = 20_000;
/** Then the screen only asks what became of it. */
export const OUTCOME_MS_MAX = 60_000;
export const ORDER_RETRY_MS_MIN = 250;
export const ORDER_RETRY_MS_MAX = 3_000;
/** A person should not wait longer for the rate limit; the order is refused instead. */
export const RETRY_AFTER_MS_MAX = 5_000;
export const SUBMISSIONS_MAX = 50;
/** Requests on their way at the same time. Further ones are refused by the screen. */
export const IN_FLIGHT_MAX = 40;
export const CLIENT_PATTERN = /^[A-Za-z0-9._:-]{1,64}$/;
