"""Django's settings. All code reads environment variables through them.

`exchange_site/limits.py` has the limits and times, each with its unit. They are settings, too.
"""

# ruff: noqa: F405 - names in capitals that are not assigned here come from limits.py

import os
import sys
from datetime import timedelta
from pathlib import Path

from prometheus_client import values
from psycopg.conninfo import conninfo_to_dict

from base.metrics_values import SharedValue
from exchange_site.environment import InvalidEnvironment, read_environment, secret_key
from exchange_site.limits import *  # noqa: F403 - each limit is a setting
from hosting.embedded.locations import Locations

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"  # Change it in pyproject.toml as well.

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
# Origins of other sites' web pages that may use the API, exactly as browsers send them.
CORS_ORIGINS = ENVIRONMENT.cors_origins

# Limits that environment variables set
RATE_LIMIT = ENVIRONMENT.rate_limit  # (orders, seconds), or None if there is no limit.
API_KEEP_ALIVE_SECONDS = ENVIRONMENT.exchange_keep_alive_seconds  # Time that a connection may idle.
LOAD_TEST_RPS = ENVIRONMENT.target_rps
LOAD_TEST_SECONDS = ENVIRONMENT.duration

ENVIRONMENT_METRICS_DIR = ENVIRONMENT.exchange_metrics_dir or str(ENVIRONMENT.data_dir / "metrics")
try:
    os.makedirs(ENVIRONMENT_METRICS_DIR, exist_ok=True)
except OSError as error:
    sys.exit(f"exchange: EXCHANGE_METRICS_DIR can't be used: {error.strerror}: {error.filename}")
values.ValueClass = SharedValue  # This must happen before any metric is defined.

INSTALLED_APPS = [
    "hosting",  # Its runserver, which is Daphne's, must come before Django's.
    "exchange_site",
    "operators",  # Its templates must come before the theme's.
    "unfold",  # The theme's templates must come before the admin's.
    # This configuration does not load the admin's modules. urls.py does, which no worker imports.
    "django.contrib.admin.apps.SimpleAdminConfig",
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
    "instruments",
    "orders",
    "marketdata",
    "matching",
]

# The admin and the documentation use it. The JSON API runs without middleware: see web/handler.py.
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
        # Each request of the admin has a connection of its own, which is closed with the request.
        # The API's reads and the worker keep their connections: see base/database.py.
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
            "IGNORE_EXCEPTIONS": True,  # The admin must still work without Redis.
            # Unpickling would run code for anyone who can write to Redis. JSON does not.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        },
    }
}
# Sessions are kept in the database alone, as signed JSON. So access to Redis is not enough to read
# or forge one.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
LOGIN_REDIRECT_URL = "/admin/"
SESSION_COOKIE_AGE = OPERATOR_SESSION_HOURS_MAX * 3600

# Wrong passwords are counted in the cache, by name and address. Counts expire after
# LOGIN_LOCK_SECONDS, and only a few logins a second are checked, so the counts need little memory.
# Without Redis, logins are slowed but not counted, so that operators can still log in.
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
AXES_ENABLE_ADMIN = False  # The tables of axes stay empty.
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

UNFOLD = {
    "SITE_TITLE": "Tradepost",
    "SITE_HEADER": "Tradepost",
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
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "web.content.AlwaysJSON",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "web.errors.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "web.schema.ViewSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Tradepost",
    "DESCRIPTION": "Orders over REST, matched by price-time priority and committed before the answer.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "TAGS": [
        {"name": "Orders", "description": "Place, cancel and read orders."},
        {
            "name": "Market",
            "description": "Books, trades, candles, instruments and the time: public, without client ids.",
        },
        {"name": "Operations", "description": "For load balancers and people who run the exchange."},
    ],
    "SORT_OPERATIONS": False,  # Operations keep the order of the URLs: orders come first.
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["exchange_site.schema.finish_document"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

STATIC_URL = "/static/"
# Static files are served from the packages, so nothing must be collected before the first start.
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
if ENVIRONMENT.behind_tls_proxy:  # Without such a proxy, any client could send this header.
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
        "django.request": {"level": "ERROR"},  # Clients' mistakes are not logged.
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "axes": {"level": "CRITICAL"},  # operators.logins logs failures, at a limited rate.
    },
}
