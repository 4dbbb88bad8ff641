"""Django's settings, and every limit of the exchange by name and unit. The only reader of the environment."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from prometheus_client import values
from psycopg.conninfo import conninfo_to_dict

from base.metrics_values import SharedValue
from exchange_site.environment import InvalidEnvironment, read_environment, secret_key
from hosting.embedded.locations import Locations

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"  # pyproject.toml has it too

try:
    ENVIRONMENT = read_environment()
    SECRET_KEY = secret_key(ENVIRONMENT)
    LOCATIONS = Locations(ENVIRONMENT.data_dir)
    POSTGRES_URI = ENVIRONMENT.postgres_uri or LOCATIONS.postgres_uri
    REDIS_URL = ENVIRONMENT.redis_url or LOCATIONS.redis_url
except InvalidEnvironment as error:
    sys.exit(f"exchange: {error}")
except OSError as error:
    sys.exit(f"exchange: EXCHANGE_DATA_DIR can't be used: {error.strerror}: {error.filename}")

DEBUG = ENVIRONMENT.debug
ALLOWED_HOSTS = ENVIRONMENT.allowed_hosts
CORS_ORIGINS = ENVIRONMENT.cors_origins  # of web pages beside our own, exactly as browsers name them

# --- limits and times of the exchange --------------------------------------------------------------------------

# Requests
REQUEST_BODY_BYTES_MAX = 64 * 1024
DISCARDED_BODY_BYTES_MAX = 16 * 1024 * 1024  # of a body that is too large, read before it is refused
DISCARDED_BODY_SECONDS_MAX = 2.0
REQUEST_HEAD_BYTES_MAX = 32 * 1024  # request line and headers
REQUEST_HEADERS_MAX = 100  # header lines; as many trailers may follow a body in chunks
REQUEST_URL_BYTES_MAX = 8 * 1024 - 256  # path and query; a WebSocket's request line may have 8 KiB in all
REQUEST_CHUNK_OVERHEAD_BYTES_MAX = 16 * 1024  # of one body in chunks: sizes, extensions, trailers
REQUEST_HEAD_SECONDS_MAX = 10.0  # from the connection's beginning, or from the head's first byte on
REQUEST_BODY_SECONDS_MAX = 10.0  # from the end of the head on; forms of the admin likewise
PAGE_ITEMS_DEFAULT = 50
PAGE_ITEMS_MAX = 1000
PAGE_FILLS_MAX = 10_000  # of the orders of one page; a page ends early rather than hold more
PAGE_ROWS_MERGED_MAX = 50_000  # index entries of the lists that one page is merged from; it may end early
CANDLES_DEFAULT = 500
BOOK_LEVELS_DEFAULT = 20
BOOK_LEVELS_MAX = 1000
STATISTICS_WINDOW_HOURS_MAX = 24 * 30
RATE_LIMIT = ENVIRONMENT.rate_limit  # (orders, seconds), None where off
RETRY_AFTER_SECONDS = 1
CORS_PREFLIGHT_SECONDS = 600  # that a browser may remember what a page may send

# What one API process works on at once
COMMANDS_AT_ONCE_MAX = 1_000  # orders
CANCELS_AT_ONCE_MAX = 1_000
PAGES_AT_ONCE_MAX = 2  # of the docs and their scripts: each takes a thread
PAGES_WAITING_MAX = 100
# Of the admin, for those who are logged in: each takes a thread, and a connection.
OPERATOR_PAGES_AT_ONCE_MAX = 4
OPERATOR_PAGES_WAITING_MAX = 100
OPERATOR_PAGES_PER_TICKET_MAX = 50  # of these, for one login
# Of names that operators have; one is checked at a time, each takes a processor a while.
LOGINS_WAITING_MAX = 200
LOGINS_WAITING_PER_ADDRESS_MAX = 20
LOGIN_FORM_BYTES_MAX = 16 * 1024
STRANGERS_WAITING_MAX = 5_000  # for the login page, and with names that no operator has; of these there are
STRANGERS_AT_ONCE = 10  # in a turn, each of which takes
STRANGER_SECONDS = 0.05
OPERATOR_NAMES_SECONDS = 5.0  # that the names of those who may log in are remembered
OPERATOR_NAMES_MAX = 1_000
PAGE_SECONDS_MAX = 30.0  # for one, with the wait for a place
PAGE_FORM_BYTES_MAX = 1024 * 1024
READS_AT_ONCE_MAX = 100  # each may need one of REDIS_CONNECTIONS_MAX
READS_WAITING_MAX = 900
SHARED_ANSWERS_AT_ONCE = 20  # of health and metrics, and
DOCUMENTS_AT_ONCE = 2  # of the OpenAPI document, in each
PACED_SECONDS = 0.02
REFUSALS_AT_ONCE = 500  # of further requests, each of which takes
REFUSAL_SECONDS = 0.02

# The order path
INSTRUMENT_CACHE_SECONDS = 1.0
INSTRUMENT_REFRESH_SECONDS = 0.5  # that a request waits for a newer copy
CANCELS_PER_ORDER = 10  # cancels that a client may send for each order that RATE_LIMIT allows
RATE_LIMIT_KEYS_MAX = 200_000  # keys in Redis, beyond which clients that it does not know yet are not counted
ORDER_QUEUE_LENGTH_MAX = 20_000  # commands in a partition's stream, beyond which no order is taken
CANCEL_QUEUE_LENGTH_MAX = 40_000  # the same for cancels and operators' commands
GATEWAY_PENDING_MAX = 10_000  # orders of one API process that wait to be appended
GATEWAY_PENDING_CANCELS_MAX = 10_000  # other commands that do
GATEWAY_WAITING_MAX = 20_000  # orders of one API process that wait for a reply
GATEWAY_WAITING_CANCELS_MAX = 20_000  # other commands that do
GATEWAY_BATCH_COMMANDS_MAX = 256  # appended in one round trip
# Together less than the 5 s after which many HTTP clients give up: they get the answer 504.
ORDER_REPLY_TIMEOUT_SECONDS = 3.0
DESK_READ_SECONDS_MAX = 1.0  # for one thing that an order or a cancel looks up, with its wait
REDIS_TIMEOUT_SECONDS = 2.0
REDIS_PING_SECONDS = 1.0  # of silence on a subscription, until the server is asked whether it is there
REDIS_CONNECTIONS_MAX = 100  # of one client; an API process has one for books, one for commands
DATABASE_THREADS = 4  # of one API process, for reads
DATABASE_READS_MAX = 1_000  # of one API process that are begun or wait for a thread
DATABASE_READ_SECONDS_MAX = 7.0  # with the wait for a thread; also where the server is frozen
DATABASE_STATEMENT_SECONDS_MAX = 5.0
# What orders and cancels look up does not wait behind the reads: see orders/look_ups.py.
DESK_READERS = 5
DESK_THREADS_PER_READER = 1
DESK_REPLAYS_MAX = 32  # orders with fills that are sent again, and read for that
# Orders that were not taken, or cancels of no open order: of each, that wait to be read.
LOOK_UPS_WAITING_MAX = 500
LOOK_UP_ROWS_MAX = 32  # of them in one statement
LOOK_UP_PAUSE_SECONDS = 0.02  # from one such statement to the next
# Instruments, health, and the names of operators are read on a thread each. Logins are checked on two: one for
# names that operators have, one for others.
SINGLE_READERS = 3
LOGIN_THREADS = 2
# Of one API process: each of its threads that reads the database keeps a connection, and there are no others.
DATABASE_CONNECTIONS_PER_API_PROCESS = (
    DATABASE_THREADS
    + DESK_READERS * DESK_THREADS_PER_READER
    + SINGLE_READERS
    + PAGES_AT_ONCE_MAX
    + OPERATOR_PAGES_AT_ONCE_MAX
    + LOGIN_THREADS
)
DATABASE_CONNECT_TIMEOUT_SECONDS = 3
DATABASE_PEER_TIMEOUT_SECONDS = 10  # until a server that is gone without a word counts as lost

# Health, metrics and the log
HEALTH_CHECK_TIMEOUT_SECONDS = 3.0
HEALTH_CHECKS_MAX = 16  # of one API process, begun or waiting for the database's thread
HEALTH_SHARED_SECONDS = 0.5  # one check answers all requests of an API process for so long
METRICS_SHARED_SECONDS = 0.5  # likewise one text of GET /metrics
METRICS_FRESH_MAX = 25  # requests in that time that get a text of their own
METRICS_LIVE_SECONDS_MAX = 3.0  # for what is asked of Redis for that text
METRICS_LOCK_SECONDS_MAX = 1.0  # that a process waits for its turn in the folder of metrics
METRICS_PROCESS_SECONDS = 5.0  # between two looks of a process at its own processor time, memory and files
OUTAGE_LOG_SECONDS = 30.0  # between two lines about an outage that lasts
OUTAGES_LOGGED_MAX = 5  # of one thing that fails again and again, in OUTAGE_LOG_SECONDS

RESOLVED_PATHS_MAX = 1_000  # remembered by an API process, each of at most
RESOLVED_PATH_CHARACTERS_MAX = 100
GC_NEW_OBJECTS_MAX = 10_000  # containers that outlive their making, before the garbage collector looks
GC_LOOKS_MAX = (10, 1)  # at the new, before it looks at the older; at those, before it looks at all

# Books
# Orders of all clients in one book; each client's bound is the instrument's.
INSTRUMENT_OPEN_ORDERS_MAX = 1_000_000
BOOK_LEVELS_PER_SIDE_MAX = 100_000  # prices with resting orders
BOOK_LEVELS_IMPROVING_MAX = 1_000  # more of them, for orders that improve the best price of their side
ORDER_TRADES_MAX = 5_000  # resting orders that one order may trade with

# The matching worker
WORKER_BATCH_COMMANDS_MAX = 256
# The command that reaches it ends the batch; one order adds ORDER_TRADES_MAX at most.
WORKER_BATCH_TRADES_MAX = 2_500
# Trades, rests and cancels of one message to the stream; a commit may need several.
MARKET_MESSAGE_CHANGES_MAX = 500
MIRROR_LEVELS_PER_COMMAND = 1_000  # while a book's mirror in Redis is rebuilt
MIRROR_RETRY_SECONDS = 10.0  # after Redis had no memory for a book's mirror
WORKER_LOOK_UP_SECONDS = 20.0  # after a start and after a reused key, idempotency keys are looked up so long
WORKER_HEARTBEAT_SECONDS = 0.5
WORKER_HEARTBEAT_EXPIRY_SECONDS = 2.0
WORKER_LEASE_SECONDS = 2.0
WORKER_STATEMENT_SECONDS_MAX = 60.0  # that the database may work on a batch, until another worker takes over
WORKER_CLOCK_STEP_SECONDS = 1.0  # where the clock goes back by more, times go back with it
WORKER_BACKOFF_SECONDS_MIN = 0.1
WORKER_BACKOFF_SECONDS_MAX = 0.5  # a database that is back is found so soon

# Operators: the admin, `manage.py halt`, `resume`, `move_instrument`, `recover` and `prune`
ADMIN_ROWS_MAX = 10_000  # of one list, to page through; filters, search and dates reach the others
OPERATOR_SESSION_HOURS_MAX = 12  # from the login; then the operator logs in again
OPERATOR_STATEMENT_SECONDS_MAX = 5.0  # for one look or change of an operator at instruments
DASHBOARD_SECONDS_MAX = 2.0  # that the front page of the admin waits for Redis and for the books
DASHBOARD_INSTRUMENTS_MAX = 50  # shown on it
DASHBOARD_PARTITIONS_MAX = 50
DASHBOARD_ACTS = 10
DASHBOARD_RATE_SECONDS = 10  # over which its orders a second are counted
DASHBOARD_ORDERS_COUNTED_MAX = 200_000  # in that time
LOGIN_FAILURES_MAX = 5  # of one name from one address; then further ones are refused for
LOGIN_LOCK_SECONDS = 300.0
OPERATOR_CANCELS_MAX = 1_000  # of one action
OPERATOR_CANCELS_AT_ONCE = 64
INSPECTION_SECONDS_MAX = 600.0  # for `recover --check` to load the books once
PRUNE_AGE_HOURS_MIN = 24.0  # what is younger stays: its idempotency keys may still be sent again
PRUNE_ROWS_PER_PAGE = 5_000  # looked at, and deleted, in one transaction
RECOVER_ATTEMPTS_MAX = 20  # to meet the worker and the database at one sequence while trading goes on

# The stream
STREAM_FRAME_BYTES_MAX = 64 * 1024
STREAM_SUBSCRIPTIONS_MAX = 100  # of one connection
# Of all connections of one API process. Beyond it each connection has an equal share.
STREAM_SUBSCRIPTIONS_OF_ALL_MAX = 50_000
STREAM_MESSAGES_PER_SECOND_MAX = 50  # from one client
# The largest burst: a batch ends with the order that reaches WORKER_BATCH_TRADES_MAX, and that order may add
# ORDER_TRADES_MAX. One client may follow the trades and their makers, each of which has an update, and what the
# commands themselves change. A trade has some 250 bytes, an update some 500.
STREAM_BURST_TRADES_MAX = WORKER_BATCH_TRADES_MAX + ORDER_TRADES_MAX
STREAM_BURST_MESSAGES_MAX = 2 * (STREAM_BURST_TRADES_MAX + WORKER_BATCH_COMMANDS_MAX)
STREAM_BURST_BYTES_MAX = STREAM_BURST_MESSAGES_MAX * 400
# Waiting for one client: two such bursts.
STREAM_QUEUE_MESSAGES_MAX = 2 * STREAM_BURST_MESSAGES_MAX
STREAM_QUEUE_BYTES_MAX = 2 * STREAM_BURST_BYTES_MAX
# Waiting for all clients of one API process; what several clients wait for counts once.
STREAM_UNREAD_BYTES_MAX = 128 * 1024 * 1024
# Messages that are sent together end with the one that reaches it.
STREAM_PACKET_BYTES = 16 * 1024
STREAM_SENDS_PER_TURN_MAX = 100  # packets to all clients, until the event loop serves everything else
STREAM_STALLED_SECONDS_MAX = 5.0  # that a client may take nothing, beside the time of what is on its way
STREAM_BYTES_PER_SECOND_MIN = 256 * 1024  # that time is counted by
STREAM_SNAPSHOT_LEVELS_AT_ONCE = 1_000  # of both sides; a larger book's snapshot is made in slices of so many
STREAM_SNAPSHOT_LEVELS_PER_SECOND = 100_000  # in snapshots that are made at once, of one API process
STREAM_SNAPSHOT_SECONDS = 1.0  # between two snapshots of a larger book
STREAM_SNAPSHOT_BYTES_PER_SECOND = 16 * 1024 * 1024  # in snapshots, for one client; of one second at once
STREAM_KEPT_BYTES_MAX = 4 * 1024 * 1024  # of deltas while a snapshot is made; it is made again beyond them
STREAM_BOOK_SECONDS_MAX = 3.0  # that a subscription waits for Redis, and then for its book
STREAM_STALE_SECONDS = 5.0  # without word of a book: ten heartbeats of the worker
STREAM_HEARTBEAT_SECONDS = 15.0
STREAM_TICKER_SECONDS = 0.1  # between two messages of an instrument's ticker, at least; so of the next two
STREAM_DEPTH_SECONDS = 0.1
STREAM_CANDLE_SECONDS = 0.25
# After a candle's end, for its last trades to arrive before it is told as closed.
STREAM_CANDLE_CLOSE_SECONDS = 0.1
STREAM_DEPTH_LEVELS = 20  # of each side
STREAM_OPEN_ORDERS_MAX = 1_000  # of one client and instrument, in a snapshot
STREAM_THROTTLE_MILLISECONDS_MAX = 60_000  # that a client may ask for
STREAM_THROTTLE_STEP_MILLISECONDS = 100  # to a multiple of which it is rounded up
STREAM_CONNECTIONS_MAX = 10_000  # of one API process
FEED_EARLY_BATCHES_MAX = 1_000  # kept while a feed reads its book
FEED_EARLY_UPDATES_MAX = 20_000  # of one client's orders, kept while its open orders are read
FEED_UPDATES_AT_ONCE = 200  # of orders, until the event loop serves everything else
FEED_WAITING_BATCHES_MAX = 100  # beyond which a feed takes them without a pause, so that no more are read
FEED_RETRY_SECONDS_MIN = 0.2  # between two attempts to read a book
FEED_RETRY_SECONDS_MAX = 2.0
FEED_OLDER_BOOKS_MAX = 5  # attempts that may find an older book than the feed's, until it is taken

# Serving: `manage.py serve` and its children
SERVERS_TIMEOUT_SECONDS = 30.0  # for a PostgreSQL and Redis that are not ours to answer
HEALTHY_WITHIN_SECONDS = 60
HEALTH_TIMEOUT_SECONDS = 2.0  # for one answer
HEALTH_POLL_SECONDS = 0.1
RESTART_BACKOFF_SECONDS_MIN = 0.1
RESTART_BACKOFF_SECONDS_MAX = 5.0
RESTART_BACKOFF_RESET_SECONDS = 10.0  # a child that has lived so long starts afresh
WORKER_STOP_SECONDS = 2.5  # then it is killed
API_STOP_SECONDS = 4.5  # then it is killed
API_GRACE_SECONDS = 4  # for open requests, all of which end in that time: see ORDER_REPLY_TIMEOUT_SECONDS
API_UNSENT_BYTES = 16 * 1024  # for one connection: in the system beyond what is on its way, and in the server
API_UNREAD_BYTES_MAX = 256 * 1024 * 1024  # of answers that clients do not take, in one API process
API_PEER_TIMEOUT_SECONDS = 30  # that a client may take nothing of what waits for it; then it counts as gone
API_RECEIVED_BYTES_MAX = (
    128 * 1024 * 1024
)  # of requests and messages that are not answered, in one API process
API_KEEP_ALIVE_SECONDS = ENVIRONMENT.exchange_keep_alive_seconds  # that a connection may be idle
API_CONNECTIONS_MAX = 16_000  # of one API process; fewer if the system allows fewer open files
API_CONNECTIONS_PER_ADDRESS_MAX = 2_000  # of one API process; an IPv6 /64 is one address
API_OPEN_FILES_RESERVED = 512  # files that are no client's connection
API_BACKLOG = 16_384  # connections that wait to be accepted; the system's own limit may be lower
API_CONCURRENT_MAX = 16_384  # requests and streams at a time, of one API process
OPEN_FILES_MAX = 65_536  # of one child, where the system allows it

# The log
LOG_LINES_MAX = 10  # warnings and errors from one place in the code, in each of
LOG_PACE_SECONDS = 10.0  # then one line says how many more there were

# The load tools
LOAD_TEST_RPS = ENVIRONMENT.target_rps
LOAD_TEST_SECONDS = ENVIRONMENT.duration
LOAD_TEST_CONNECTIONS = 128
LOAD_TEST_REQUESTS_MAX = 10_000_000  # of one run; 150 bytes of memory each when they are looked up
LOAD_CONNECTIONS_MAX = 1_000
LOAD_CONNECT_TIMEOUT_SECONDS = 5.0
LOAD_ANSWER_TIMEOUT_SECONDS = 10.0  # longer than the exchange takes to answer 504
FIXTURE_ORDERS_MAX = 10_000_000
FIXTURE_CONNECTIONS = 32
FIXTURE_ATTEMPTS_MAX = 20  # of one order
FIXTURE_RETRY_AFTER_SECONDS_MAX = 60

# --- Django -------------------------------------------------------------------------------------------------

ENVIRONMENT_METRICS_DIR = ENVIRONMENT.exchange_metrics_dir or str(ENVIRONMENT.data_dir / "metrics")
try:
    os.makedirs(ENVIRONMENT_METRICS_DIR, exist_ok=True)
except OSError as error:
    sys.exit(f"exchange: EXCHANGE_METRICS_DIR can't be used: {error.strerror}: {error.filename}")
values.ValueClass = SharedValue  # before any metric is defined

INSTALLED_APPS = [
    "hosting",  # its runserver, which is Daphne's, comes before Django's
    "exchange_site",
    "operators",  # its templates come before the theme's
    "unfold",  # and the theme's before the admin's
    "django.contrib.admin.apps.SimpleAdminConfig",  # urls.py loads the pages: a worker needs none
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "channels",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "orders",
    "marketdata",
    "matching",
]

# For the admin and the docs. The JSON API runs without middleware: see web/handler.py.
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "operators.tickets.TicketMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "exchange_site.urls"
ASGI_APPLICATION = "exchange_site.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

_connection = {key: str(value) for key, value in conninfo_to_dict(POSTGRES_URI).items()}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _connection.pop("dbname", "exchange"),
        "USER": _connection.pop("user", ""),
        "PASSWORD": _connection.pop("password", ""),
        "HOST": _connection.pop("host", ""),
        "PORT": _connection.pop("port", ""),
        # The admin's requests run on a thread each, and a connection belongs to its thread: it ends with the
        # request. The API's reads and the worker have threads that stay, and keep theirs: base/database.py.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": DATABASE_CONNECT_TIMEOUT_SECONDS,
            "application_name": "exchange",
            "tcp_user_timeout": DATABASE_PEER_TIMEOUT_SECONDS * 1000,
            "keepalives_idle": DATABASE_PEER_TIMEOUT_SECONDS // 2,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            **_connection,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "IGNORE_EXCEPTIONS": True,  # the cache is a convenience: without Redis the admin still works
            # Whoever can write to Redis must not be able to run code here, as unpickling would.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        },
    }
}
# In the database alone: Redis can neither read nor make a session. Django keeps them as signed JSON.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
LOGIN_REDIRECT_URL = "/admin/"
SESSION_COOKIE_AGE = OPERATOR_SESSION_HOURS_MAX * 3600

# Wrong passwords: counted in the cache by name and address, and forgotten after LOGIN_LOCK_SECONDS, so that they
# take no more room than a few a second can fill. Without Redis they are not counted, only slowed: operators must be
# able to log in then.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "operators.logins.FailureCounter"
AXES_FAILURE_LIMIT = LOGIN_FAILURES_MAX
AXES_COOLOFF_TIME = timedelta(seconds=LOGIN_LOCK_SECONDS)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_NEVER_LOCKOUT_GET = True
AXES_CLIENT_IP_CALLABLE = "operators.logins.counted_address"
AXES_LOCKOUT_CALLABLE = "operators.logins.locked_out"
AXES_ENABLE_ADMIN = False  # its tables stay empty
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

UNFOLD = {
    "SITE_TITLE": "Exchange",
    "SITE_HEADER": "Exchange",
    "SITE_SUBHEADER": "Operations",
    "SITE_SYMBOL": "candlestick_chart",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "operators.dashboard.dashboard",
    "STYLES": ["/static/operators/operators.css"],
    "SIDEBAR": {"show_search": False, "navigation": "operators.navigation.navigation"},
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
                    "socket_timeout": REDIS_TIMEOUT_SECONDS,
                }
            ],
            "prefix": "exchange",
        },
    }
}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["web.content.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["web.content.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "web.content.AlwaysJSON",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "web.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "web.schema.ViewSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Exchange",
    "DESCRIPTION": "Orders in over REST, matched by price-time priority, committed before they are acknowledged.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "TAGS": [
        {"name": "Orders", "description": "Place, cancel and read orders."},
        {
            "name": "Market",
            "description": "Books, trades, candles and instruments: public, without client ids.",
        },
        {"name": "Operations", "description": "For load balancers and people who run the exchange."},
    ],
    "SORT_OPERATIONS": False,  # the order of the URLs: orders first
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["exchange_site.schema.finish_document"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

STATIC_URL = "/static/"
# Served from the packages themselves: nothing to collect before the first start.
WHITENOISE_USE_FINDERS = True

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_BYTES_MAX
CSRF_FAILURE_VIEW = "web.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.behind_tls_proxy
if ENVIRONMENT.behind_tls_proxy:  # without a proxy that sets it, the header would be any client's to send
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "base.logs.LineFormatter",
            "format": "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s",
        },
    },
    "handlers": {
        "stderr": {
            "class": "base.logs.PacedHandler",
            "formatter": "line",
            "lines_max": LOG_LINES_MAX,
            "seconds": LOG_PACE_SECONDS,
        }
    },
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.exchange_log_level},
    "loggers": {
        "django.request": {"level": "ERROR"},  # a client's mistake is not the operator's news
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "axes": {"level": "CRITICAL"},  # operators.logins writes of failures, at a bounded pace
    },
}
