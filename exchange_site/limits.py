"""The limits and times of the exchange. Each name has its unit, or names the things it counts.

`settings.py` imports all of them, so code reads them as `django.conf.settings.NAME`. Limits that
an environment variable sets, such as `RATE_LIMIT`, are in `settings.py`.
"""

# --- Requests ----------------------------------------------------------------------------------

REQUEST_BODY_BYTES_MAX = 64 * 1024
# Before a body that is too large is refused, this much of it is read and discarded.
DISCARDED_BODY_BYTES_MAX = 16 * 1024 * 1024
DISCARDED_BODY_SECONDS_MAX = 2.0  # Time for discarding the body of a refused request.
REQUEST_HEAD_BYTES_MAX = 32 * 1024  # The request line and the headers.
REQUEST_HEADERS_MAX = 100  # Header lines. A chunked body may have as many trailers.
# Path and query. A WebSocket handshake's request line may have 8 KiB in all.
REQUEST_URL_BYTES_MAX = 8 * 1024 - 256
# Chunk sizes, chunk extensions and trailers of one chunked body.
REQUEST_CHUNK_OVERHEAD_BYTES_MAX = 16 * 1024
# Time for the head. It starts when the connection opens, or with the first byte of a later head.
REQUEST_HEAD_SECONDS_MAX = 10.0
# Time for the body, from the end of the head. Also applies to forms of the admin.
REQUEST_BODY_SECONDS_MAX = 10.0
PAGE_ITEMS_DEFAULT = 50
PAGE_ITEMS_MAX = 1000
# The last fills of an order that its answers show. GET /fills has all.
ORDER_TRADES_SHOWN_MAX = 1_000
# Fills in all orders of one page. A page that would have more ends early.
PAGE_FILLS_MAX = 10_000
# Index entries that one page is merged from. A page that would need more ends early.
PAGE_ROWS_MERGED_MAX = 50_000
CANDLES_DEFAULT = 500
BOOK_LEVELS_DEFAULT = 20
BOOK_LEVELS_MAX = 1000
STATISTICS_WINDOW_HOURS_MAX = 24 * 30
RETRY_AFTER_SECONDS = 1
MIRRORS_READ_AT_ONCE = 100  # Books that are read from Redis in one round trip.
CORS_PREFLIGHT_SECONDS = 600  # A browser may cache a preflight's answer for this long.

# --- Work that one API process does at a time ----------------------------------------------------

COMMANDS_AT_ONCE_MAX = 1_000  # Requests that place an order.
CANCELS_AT_ONCE_MAX = 1_000  # Requests that cancel an order.
READS_AT_ONCE_MAX = 100  # Each may need one of REDIS_CONNECTIONS_MAX.
READS_WAITING_MAX = 900
# The documentation's pages and all scripts and styles. Each takes a thread.
PAGES_AT_ONCE_MAX = 2
PAGES_WAITING_MAX = 100
# Pages of the admin for logged-in operators. Each takes a thread and a database connection.
OPERATOR_PAGES_AT_ONCE_MAX = 4
OPERATOR_PAGES_WAITING_MAX = 100
OPERATOR_PAGES_PER_TICKET_MAX = 50  # Pages of one login, served or waiting.
# Waiting logins with the names of operators. They are checked one at a time, because a check keeps
# a processor busy for some tenths of a second.
LOGINS_WAITING_MAX = 200
LOGINS_WAITING_PER_ADDRESS_MAX = 20
LOGIN_FORM_BYTES_MAX = 16 * 1024
# Requests to the admin without an operator's ticket, except logins that are being checked.
STRANGERS_WAITING_MAX = 5_000
STRANGERS_AT_ONCE = 10  # Requests without a ticket that are answered in each STRANGER_SECONDS.
STRANGER_SECONDS = 0.05
OPERATOR_NAMES_SECONDS = 5.0  # The names of operators are cached for this long.
OPERATOR_NAMES_MAX = 1_000  # Names that are cached.
PAGE_SECONDS_MAX = 30.0  # Time for one page, including the wait for a thread.
PAGE_FORM_BYTES_MAX = 1024 * 1024
SHARED_ANSWERS_AT_ONCE = 20  # Answers of each of health, metrics and tickers in PACED_SECONDS.
# After the metrics or tickers were made, they are not made again for this many times as long as
# that took, but at most for SHARED_PAUSE_SECONDS_MAX. Requests during this pause share the next one.
SHARED_PAUSE_RATIO = 4
SHARED_PAUSE_SECONDS_MAX = 0.5
DOCUMENTS_AT_ONCE = 2  # Copies of the OpenAPI document that are sent in each PACED_SECONDS.
PACED_SECONDS = 0.02
REFUSALS_AT_ONCE = 500  # Requests beyond a limit that are refused in each REFUSAL_SECONDS.
REFUSAL_SECONDS = 0.02  # Delay before each refusal.

# --- The order path ----------------------------------------------------------------------------

INSTRUMENT_CACHE_SECONDS = 1.0
# A request waits this long for a newer copy of the instruments. Then it uses the old copy.
INSTRUMENT_REFRESH_SECONDS = 0.5
CANCELS_PER_ORDER = 10  # Cancels that a client may send for each order that RATE_LIMIT allows.
# Keys of rate limits in Redis. Beyond this, requests of further clients are not counted.
RATE_LIMIT_KEYS_MAX = 200_000
# Commands in a partition's stream. Beyond this, new orders are refused.
ORDER_QUEUE_LENGTH_MAX = 20_000
# Commands in a partition's stream. Beyond this, cancels and operators' commands are refused, too.
CANCEL_QUEUE_LENGTH_MAX = 40_000
# Orders of one API process that are not yet appended to a stream.
GATEWAY_PENDING_MAX = 10_000
# Other commands of one API process that are not yet appended to a stream.
GATEWAY_PENDING_CANCELS_MAX = 10_000
GATEWAY_WAITING_MAX = 20_000  # Orders of one API process that wait for the worker's reply.
GATEWAY_WAITING_CANCELS_MAX = 20_000  # Other commands of one API process that wait for it.
REQUEST_ORDERS_MAX = 100  # Orders, amends or cancels in one request.
GATEWAY_BATCH_COMMANDS_MAX = 256  # Commands that are appended in one round trip.
# This and DESK_READ_SECONDS_MAX together are less than 5 s, after which many HTTP clients give up.
# So clients still receive the answer 504.
ORDER_REPLY_TIMEOUT_SECONDS = 3.0
# Time for one look-up of an order or a cancel in the database, including the wait for a thread.
DESK_READ_SECONDS_MAX = 1.0
REDIS_TIMEOUT_SECONDS = 2.0
# If a subscription to Redis is silent for this long, Redis is pinged.
REDIS_PING_SECONDS = 1.0
# Connections of one Redis client. An API process has one client for books and one for commands.
REDIS_CONNECTIONS_MAX = 100

# --- Database reads of one API process ------------------------------------------------------------

DATABASE_THREADS = 4
DATABASE_READS_MAX = 1_000  # Reads that run or wait for a thread.
# Time for one read, including the wait for a thread. It also ends a read from a frozen server.
DATABASE_READ_SECONDS_MAX = 7.0
DATABASE_STATEMENT_SECONDS_MAX = 5.0
# Look-ups for orders and cancels do not wait behind other reads: see orders/look_ups.py.
_DESK_READERS = 5
DESK_THREADS_PER_READER = 1
# Repeated orders whose fills are read at the same time, or wait for that.
DESK_REPLAYS_MAX = 32
# After such a read, the next one waits this many times as long as the read took. An order may have
# thousands of fills, and clients that repeat it without a pause would slow all other orders.
DESK_REPLAY_PAUSE_RATIO = 2.0
# Waiting look-ups of refused orders, and as many of cancels that met no open order.
LOOK_UPS_WAITING_MAX = 500
LOOK_UP_ROWS_MAX = 32  # Look-ups of refused orders or cancels in one statement.
LOOK_UP_PAUSE_SECONDS = 0.02  # Pause between two statements with such look-ups.
# One thread each for instruments, for health, and for the names of operators.
_SINGLE_READERS = 3
_LOGIN_THREADS = 2  # One checks logins with names of operators, the other all other logins.
# Each thread that reads the database keeps one connection. There are no other connections.
DATABASE_CONNECTIONS_PER_API_PROCESS = (
    DATABASE_THREADS
    + _DESK_READERS * DESK_THREADS_PER_READER
    + _SINGLE_READERS
    + PAGES_AT_ONCE_MAX
    + OPERATOR_PAGES_AT_ONCE_MAX
    + _LOGIN_THREADS
)
DATABASE_CONNECT_TIMEOUT_SECONDS = 3
# A server that disappears without closing its connections counts as lost after this time.
DATABASE_PEER_TIMEOUT_SECONDS = 10

# --- Health and metrics ---------------------------------------------------------------------------

HEALTH_CHECK_TIMEOUT_SECONDS = 3.0
# Health checks of one API process that run or wait for the database's thread.
HEALTH_CHECKS_MAX = 16
# One check answers all requests that an API process receives within this time.
HEALTH_SHARED_SECONDS = 0.5
METRICS_LIVE_SECONDS_MAX = 3.0  # Time for the reads from Redis for one text.
METRICS_LOCK_SECONDS_MAX = 1.0  # A process waits this long for its turn in the metrics folder.
# Interval at which a process measures its own processor time, memory and open files.
METRICS_PROCESS_SECONDS = 5.0

# --- Memory of one process ------------------------------------------------------------------------

RESOLVED_PATHS_MAX = 1_000  # URL paths whose resolution an API process caches.
RESOLVED_PATH_CHARACTERS_MAX = 100  # Longer paths are not cached.
# The garbage collector runs after this many new container objects.
GC_NEW_OBJECTS_MAX = 10_000
# Collections of the youngest generation before the middle one is collected, and collections of the
# middle generation before the oldest is.
GC_LOOKS_MAX = (10, 1)

# --- Order books ----------------------------------------------------------------------------------

# Orders of all clients in one book. The limit for one client is a field of the instrument.
INSTRUMENT_OPEN_ORDERS_MAX = 1_000_000
BOOK_LEVELS_PER_SIDE_MAX = 100_000  # Price levels.
# Further price levels. Only orders that improve the best price of their side may use them.
BOOK_LEVELS_IMPROVING_MAX = 1_000
ORDER_EXPIRY_DAYS_MAX = 400  # How far ahead a gtd order may expire.
CANCEL_AFTER_SECONDS_MAX = 86_400  # The longest time of a dead man's switch.
ORDER_TRADES_MAX = 5_000  # Resting orders that one order may trade with.

# --- Guards: cancel_on_disconnect of /stream -----------------------------------------------------

# If an API process shows no sign of life for this long, workers end the guards of its connections.
GUARD_SILENT_SECONDS_MAX = 4.0
# A worker counts at most this much time between two looks at the signs of life.
GUARD_LOOK_SECONDS_MAX = 1.0
GUARD_RENEW_SECONDS = 1.0  # Time between two signs of life of an API process.
GUARD_EXPIRY_SECONDS = 60.0  # Redis forgets the last sign of life after this time.
# If an API process could show no sign of life for this long, it asks which of its guards are left.
GUARD_DOUBT_SECONDS = 3.0
GUARD_CHECK_SECONDS = 10.0  # It also asks after this time.
GUARD_RETRY_SECONDS_MIN = 0.2  # Pause after a failed sign of life.
# After failed attempts to end a guard, pauses double from GUARD_RETRY_SECONDS_MIN up to this.
GUARD_RETRY_SECONDS_MAX = 2.0
# A connection that ends, and a server that stops, wait this long for the end of the guard.
GUARD_END_SECONDS_MAX = 2.0

# --- The matching worker --------------------------------------------------------------------------

WORKER_BATCH_COMMANDS_MAX = 256
# Trades of one batch. The command that reaches this number ends the batch.
WORKER_BATCH_TRADES_MAX = 2_500
# Orders that expiries, dead man's switches and mass cancels take off in one batch. The rest follows
# in the next batches. A commit of so many takes about 0.1 s, and all other commands wait for it.
WORKER_BATCH_CANCELS_MAX = 1_000
# Mass cancels that a worker carries out at the same time, piece by piece. If there are more, it
# forgets the oldest one, whose client must send it again.
WORKER_MASS_CANCELS_MAX = 100
CANCELLED_IDS_MAX = 10_000  # Ids in the answer to a mass cancel.
# Triggered orders of one instrument that enter its book in one batch. The rest follows in the next
# batches, with others' commands. With half of this, a long chain takes longer.
WORKER_BATCH_TRIGGERED_MAX = 250
# Commands that wait for a long chain of triggered orders. Beyond this, all that comes behind the next
# one in the partition's stream waits, too. Each takes less than 1 KiB.
WORKER_DEFERRED_COMMANDS_MAX = 5_000
# Trades, new resting orders and cancels in one message to the stream. A commit may need several
# messages.
MARKET_MESSAGE_CHANGES_MAX = 500
# Price levels in one command to Redis while a book's mirror is rebuilt.
MIRROR_LEVELS_PER_COMMAND = 1_000
# Books whose mirrors a worker checks, and whose heartbeats it sends, in one round trip.
HEARTBEAT_BOOKS_PER_PACKET = 100
MIRROR_RETRY_SECONDS = 10.0  # Pause after Redis had no memory for a book's mirror.
# For this long after a start, and after a repeated idempotency key, keys are looked up in advance.
WORKER_LOOK_UP_SECONDS = 20.0
WORKER_HEARTBEAT_SECONDS = 0.5
WORKER_HEARTBEAT_EXPIRY_SECONDS = 2.0
WORKER_LEASE_SECONDS = 2.0
# The database may work on a batch for this long before another worker takes over.
WORKER_STATEMENT_SECONDS_MAX = 60.0
# If the clock goes back by more than this, the times of batches go back with it.
WORKER_CLOCK_STEP_SECONDS = 1.0
WORKER_BACKOFF_SECONDS_MIN = 0.1
WORKER_BACKOFF_SECONDS_MAX = 0.5  # A database that is back is noticed within this time.

# --- Operators: the admin, and manage.py halt, resume, move_instrument, recover and prune --------

# Rows of one list that can be paged through. Filters, search and dates reach all others.
ADMIN_ROWS_MAX = 10_000
ADMIN_EVENTS_MAX = 100  # Events that the page of an order shows.
OPERATOR_SESSION_HOURS_MAX = 12  # Counted from the login. Then the operator must log in again.
OPERATOR_STATEMENT_SECONDS_MAX = 5.0  # Time for an operator's read or change of instruments.
# The admin's front page waits this long for Redis, and for each statement that reads its market.
DASHBOARD_SECONDS_MAX = 2.0
DASHBOARD_INSTRUMENTS_MAX = 50  # Instruments on the front page.
DASHBOARD_PRICES = 48  # Prices in an instrument's chart of the last 24 hours.
# Orders of an instrument that the front page counts. Then it shows the number with a plus sign.
DASHBOARD_LIVE_ORDERS_MAX = 1_000
DASHBOARD_PARTITIONS_MAX = 50  # Partitions on the front page.
DASHBOARD_ACTS = 10  # Records of the audit trail on the front page.
DASHBOARD_RATE_SECONDS = 10  # Period over which the front page counts orders per second.
DASHBOARD_ORDERS_COUNTED_MAX = 200_000  # Orders that are counted in that period.
# Failed logins with one name from one address. Then the name is locked for the address.
LOGIN_FAILURES_MAX = 5
LOGIN_LOCK_SECONDS = 300.0
OPERATOR_CANCELS_MAX = 1_000  # Orders that one action of an operator may cancel.
OPERATOR_CANCELS_AT_ONCE = 64  # Cancels of one action that wait for a reply at the same time.
INSPECTION_SECONDS_MAX = 600.0  # Time in which `recover --check` must load the books once.
# Younger rows are not pruned, because their idempotency keys may still be sent again.
PRUNE_AGE_HOURS_MIN = 24.0
PRUNE_ROWS_PER_PAGE = 5_000  # Rows that one transaction checks and deletes.
# Attempts to read the worker's and the database's state at one sequence while trading goes on.
RECOVER_ATTEMPTS_MAX = 20
# The audit reports what was due this long ago and is not done, such as an order that should have
# expired. The clocks of the audit's and the worker's machine may differ by less than this.
AUDIT_OVERDUE_SECONDS = 60.0

# --- The stream -----------------------------------------------------------------------------------

STREAM_FRAME_BYTES_MAX = 64 * 1024
STREAM_SUBSCRIPTIONS_MAX = 100  # Subscriptions of one connection.
# Subscriptions of all connections of one API process. Beyond this, each connection is limited to an
# equal share.
STREAM_SUBSCRIPTIONS_OF_ALL_MAX = 50_000
STREAM_ORDERS_ON_THE_WAY_MAX = 250  # Orders, amends and cancels of a connection without a result.
STREAM_MESSAGES_PER_SECOND_MAX = 50  # Messages from one client.
# Trades of the largest burst. A batch ends with the order that reaches WORKER_BATCH_TRADES_MAX, and
# this order may add ORDER_TRADES_MAX.
_STREAM_BURST_TRADES_MAX = WORKER_BATCH_TRADES_MAX + ORDER_TRADES_MAX
# One client may follow the trades and all their makers. It receives each trade, an update of each
# maker, and an update for each command.
_STREAM_BURST_MESSAGES_MAX = 2 * (_STREAM_BURST_TRADES_MAX + WORKER_BATCH_COMMANDS_MAX)
# A trade has about 250 bytes, an update about 500.
_STREAM_BURST_BYTES_MAX = _STREAM_BURST_MESSAGES_MAX * 400
# Messages queued for one client: two of the largest bursts.
STREAM_QUEUE_MESSAGES_MAX = 2 * _STREAM_BURST_MESSAGES_MAX
STREAM_QUEUE_BYTES_MAX = 2 * _STREAM_BURST_BYTES_MAX
# Bytes queued for all clients of one API process. A message for several clients counts once.
STREAM_UNREAD_BYTES_MAX = 128 * 1024 * 1024
# Messages are sent together in a packet. The message that reaches this size ends the packet.
STREAM_PACKET_BYTES = 16 * 1024
# Packets to all clients that are sent before the event loop serves everything else.
STREAM_SENDS_PER_TURN_MAX = 100
# A client that takes no data for this long is closed. The time to transfer the data that is on its
# way to the client is added.
STREAM_STALLED_SECONDS_MAX = 5.0
# A client that sends too many messages is closed. Before that, the answers to the messages within the
# limit are sent, for at most this long.
STREAM_FLUSH_SECONDS_MAX = 1.0
STREAM_BYTES_PER_SECOND_MIN = 256 * 1024  # The transfer time is computed with this rate.
# Price levels of both sides. The snapshot of a larger book is made in slices of this size.
STREAM_SNAPSHOT_LEVELS_AT_ONCE = 1_000
# Price levels in the snapshots of smaller books, for all clients of one API process.
STREAM_SNAPSHOT_LEVELS_PER_SECOND = 100_000
STREAM_SNAPSHOT_SECONDS = 1.0  # Pause between two snapshots of one larger book.
# Bytes of snapshots for one client. The snapshots of one second may be sent at once.
STREAM_SNAPSHOT_BYTES_PER_SECOND = 16 * 1024 * 1024
# Deltas that are kept while a snapshot is made. Beyond this, the snapshot is made again.
STREAM_KEPT_BYTES_MAX = 4 * 1024 * 1024
# A subscription waits this long for Redis, and then as long again for its book.
STREAM_BOOK_SECONDS_MAX = 3.0
# Clients whose orders are cancelled when one connection ends.
STREAM_GUARDED_CLIENTS_MAX = 10
# Connections of one API process that have a guard.
STREAM_GUARDED_CONNECTIONS_MAX = 5_000
# A connection with a guard is pinged if nothing was received from it for this long.
STREAM_PING_SECONDS = 1.0
# A connection with a guard is closed if nothing was received from it for this long.
STREAM_SILENT_SECONDS_MAX = 4.0
STREAM_SILENCE_CHECK_SECONDS = 0.5  # Time between two looks at how long a connection has been silent.
# Market data without a message from the worker is stale after ten of the worker's heartbeats.
STREAM_STALE_SECONDS = 5.0
STREAM_HEARTBEAT_SECONDS = 15.0
# Shortest time between two messages of the channels `ticker`, `depth` and `candles`.
STREAM_TICKER_SECONDS = 0.1
STREAM_DEPTH_SECONDS = 0.1
STREAM_CANDLE_SECONDS = 0.25
# A candle is sent as closed this long after its end, so that its last trades can arrive.
STREAM_CANDLE_CLOSE_SECONDS = 0.1
STREAM_DEPTH_LEVELS = 20  # Price levels of each side in the channel `depth`.
STREAM_OPEN_ORDERS_MAX = 1_000  # Orders in a snapshot of one client and instrument.
STREAM_THROTTLE_MILLISECONDS_MAX = 60_000  # Longest interval that a client may ask for.
STREAM_THROTTLE_STEP_MILLISECONDS = 100  # The interval is rounded up to a multiple of this.
STREAM_CONNECTIONS_MAX = 10_000  # Connections of one API process.
FEED_EARLY_BATCHES_MAX = 1_000  # Batches that are kept while a feed reads its book.
# Updates of one client's orders that are kept while its open orders are read.
FEED_EARLY_UPDATES_MAX = 20_000
# Order updates that are handled before the event loop serves everything else.
FEED_UPDATES_AT_ONCE = 200
# Batches that wait for a feed. Beyond this, the feed handles them without a pause. No further
# batches are read from Redis until it is done.
FEED_WAITING_BATCHES_MAX = 100
FEED_RETRY_SECONDS_MIN = 0.2  # Pause after the first failed read of a book. It doubles each time.
FEED_RETRY_SECONDS_MAX = 2.0
# Reads that may find a book older than the feed's. The next older book replaces the feed's book.
FEED_OLDER_BOOKS_MAX = 5

# --- Serving: manage.py serve and its children ----------------------------------------------------

# PostgreSQL and Redis servers that are not embedded must answer within this time at the start.
SERVERS_TIMEOUT_SECONDS = 30.0
HEALTHY_WITHIN_SECONDS = 60
HEALTH_TIMEOUT_SECONDS = 2.0  # Time for one answer of GET /healthz.
HEALTH_POLL_SECONDS = 0.1
RESTART_BACKOFF_SECONDS_MIN = 0.1
RESTART_BACKOFF_SECONDS_MAX = 5.0
# A child that has lived for this long before it died is restarted at once.
RESTART_BACKOFF_RESET_SECONDS = 10.0
WORKER_STOP_SECONDS = 2.5  # A worker that has not stopped by then is killed.
API_STOP_SECONDS = 4.5  # An API server that has not stopped by then is killed.
# Time for unanswered requests when the server stops. ORDER_REPLY_TIMEOUT_SECONDS is shorter.
API_GRACE_SECONDS = 4
# Unsent bytes of one connection in the system's buffer, and as many in the server's buffer. Bytes
# on their way to the client do not count.
API_UNSENT_BYTES = 16 * 1024
# Bytes of answers that clients do not read, in one API process.
API_UNREAD_BYTES_MAX = 256 * 1024 * 1024
# If a client takes no data for this long, although data waits, its connection is closed.
API_PEER_TIMEOUT_SECONDS = 30
# Bytes of requests and messages that are not answered yet, in one API process.
API_RECEIVED_BYTES_MAX = 128 * 1024 * 1024
# Connections of one API process. There are fewer if the system allows fewer open files.
API_CONNECTIONS_MAX = 16_000
# Connections from one address to one API process. An IPv6 /64 counts as one address.
API_CONNECTIONS_PER_ADDRESS_MAX = 2_000
API_OPEN_FILES_RESERVED = 512  # Open files of an API process that are not client connections.
# Connections that wait to be accepted. The system's own limit may be lower.
API_BACKLOG = 16_384
API_CONCURRENT_MAX = 16_384  # Requests and streams of one API process at a time.
OPEN_FILES_MAX = 65_536  # Open files of one child, if the system allows as many.

# --- The log --------------------------------------------------------------------------------------

# Warnings and errors from one place in the code in LOG_PACE_SECONDS. Then one line says how many
# more there were.
LOG_LINES_MAX = 10
LOG_PACE_SECONDS = 10.0
OUTAGE_LOG_SECONDS = 30.0  # Time between two lines about the same outage.
# Outages of one thing that are logged in OUTAGE_LOG_SECONDS, if it fails again and again.
OUTAGES_LOGGED_MAX = 5

# --- The load tools -------------------------------------------------------------------------------

LOAD_TEST_CONNECTIONS = 128
# Requests of one run. The final look-up of their orders takes 150 bytes of memory for each.
LOAD_TEST_REQUESTS_MAX = 10_000_000
LOAD_CONNECTIONS_MAX = 1_000
FIXTURE_ORDERS_MAX = 10_000_000
FIXTURE_CONNECTIONS = 32

# manage.py make_history: candles of a made past.
HISTORY_HOURS_MAX = 31 * 24
HISTORY_INSTRUMENTS = ("BTC-USD:70000", "ETH-USD:3500", "SOL-USD:150")  # With their last prices.
