"""Every setting of Gatehouse, read from the environment once, failing at start with a sentence.

Any variable NAME may instead be given as NAME_FILE, a path to a file that holds its value (for secrets). What is unsafe
outside DEBUG stops the start. Relative paths are relative to the project's root.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
TESTING = "pytest" in sys.modules


def env(name: str, default: str = "") -> str:
    """Return the variable NAME, or the content of the file that NAME_FILE names, or the default."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {error.strerror}.") from error
    return os.environ.get(name, default)


def env_bool(name: str, default: bool) -> bool:
    """Return the variable as a truth value; anything but 1/0, true/false, yes/no, on/off is refused."""
    value = env(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; use true or false.")


def env_int(name: str, default: int) -> int:
    """Return the variable as a whole number."""
    value = env(name, str(default))
    try:
        return int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number.") from error


def env_float(name: str, default: float) -> float:
    """Return the variable as a number."""
    value = env(name, str(default))
    try:
        return float(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number.") from error


def env_list(name: str, default: str) -> list[str]:
    """Return the variable as a list split at commas."""
    return [item.strip() for item in env(name, default).split(",") if item.strip()]


PRICED = {"tokens", "prompt_tokens", "completion_tokens", "seconds"}


def env_prices(name: str) -> dict[str, dict[str, Decimal]]:
    """Return the variable, a JSON table of prices by model or engine, with every price as an exact decimal."""
    text = env(name, "{}")
    try:
        table = json.loads(text, parse_float=str)
        found = {key: {what: Decimal(str(price)) for what, price in row.items()} for key, row in table.items()}
    except (ValueError, ArithmeticError, AttributeError) as error:
        raise ImproperlyConfigured(
            f'{name} must be JSON such as {{"embedded": {{"tokens": "0.002"}}}}: {error}'
        ) from error
    for key, row in found.items():
        for what, price in row.items():
            if what not in PRICED or not (price.is_finite() and price >= 0):
                raise ImproperlyConfigured(
                    f"{name}: {key} has {what} = {price}; priced are {', '.join(sorted(PRICED))}, at zero or more."
                )
    return found


GATEHOUSE_VERSION = re.search(r"^## (\S+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)[1]

# Where the running system keeps its files
VAR = Path(env("GATEHOUSE_VAR", str(BASE_DIR / "var"))).resolve()
DEBUG = env_bool("DEBUG", False)
HOST = env("HOST", "127.0.0.1")
PORT = env_int("PORT", 8000)
LOOPBACK = HOST in {"127.0.0.1", "localhost", "::1"}
HTTPS = env_bool("HTTPS", False)
BEHIND_PROXY = env_bool("BEHIND_PROXY", False)

_key_file = VAR / "secret.key"
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS", "")
SECRET_KEY = env("SECRET_KEY") or (_key_file.read_text().strip() if _key_file.is_file() else "")
if not SECRET_KEY:
    if not (TESTING or DEBUG or {"migrate", "collectstatic", "makemigrations", "check", "up"} & set(sys.argv)):
        raise ImproperlyConfigured(
            f"There is no secret key. Set SECRET_KEY or SECRET_KEY_FILE, or let `make run` create {_key_file}."
        )
    # Good for this process alone: nothing signed with it outlives a command that needs no lasting signature.
    SECRET_KEY = secrets.token_urlsafe(48)

ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", "")
BASE_URL = env("BASE_URL", f"http://{HOST}:{PORT}").rstrip("/")
# One person on their own machine: nobody else can reach it.
ALONE = LOOPBACK and not HTTPS and not BEHIND_PROXY and urlsplit(BASE_URL).hostname in {"127.0.0.1", "localhost", "::1"}

INSTALLED_APPS = [
    # First, so that its `createsuperuser`, which records, is the one that is found.
    "governance",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.admin",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "guardian",
    "rest_framework",
    "projects",
    "training",
    "portal",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "portal.doors.HeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.RequestContextMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.accounts.recording.RecordingMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
    "portal.doors.DoorMiddleware",
    "portal.middleware.BreakGlassMiddleware",
    "portal.middleware.DefaultDenyMiddleware",
    "portal.limits.LimitMiddleware",
    "portal.middleware.RefusalMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.navigation",
            ],
            "builtins": ["django.templatetags.i18n", "portal.templatetags.ui"],
        },
    }
]

# Database: SQLite on one machine, PostgreSQL for an organisation
DATABASE_URL = env("DATABASE_URL", f"sqlite:///{VAR / 'gatehouse.sqlite3'}")
# A WSGI worker may keep its connections between requests; under ASGI every request has a thread of its own, which would
# leave one open behind it.
DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=env_int("CONN_MAX_AGE", 0))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;"
        " PRAGMA mmap_size=268435456; PRAGMA temp_store=MEMORY;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHE_URL = env("CACHE_URL", "")
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}
        if CACHE_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

# Files: everything governed is in the content-addressed store
STORAGE_URL = env("STORAGE_URL", f"file://{VAR / 'store'}")
STORAGES = {
    "default": {"BACKEND": "portal.storages.filesystem.ContentStorage", "OPTIONS": {"url": STORAGE_URL}},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG or TESTING
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "portal" / "static"]
WHITENOISE_USE_FINDERS = DEBUG or TESTING
# Otherwise every server that a test makes reads the folders of all static files first.
WHITENOISE_AUTOREFRESH = DEBUG or TESTING
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
_incoming = VAR / "incoming"
FILE_UPLOAD_TEMP_DIR = _incoming if _incoming.is_dir() else None
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
MAX_UPLOAD_BYTES = env_int("MAX_UPLOAD_MB", 2048) * 1024 * 1024

# People
AUTH_USER_MODEL = "governance.User"
SIGN_IN_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", SIGN_IN_BACKEND]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
if TESTING:
    # A million rounds per persona would be most of the suite's time.
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/account/login/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_FORMS = {
    "reset_password": "portal.accounts.passwords.ResetPasswordForm",
    "reset_password_from_key": "portal.accounts.passwords.ResetPasswordKeyForm",
    "set_password": "portal.accounts.passwords.SetPasswordForm",
}
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Gatehouse: "
ACCOUNT_SESSION_REMEMBER = False
# Wrong passwords are counted by axes, below; wrong codes of a second factor here.
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "5/5m/key",
    "reset_password": "20/m/ip,3/m/key",
    "reauthenticate": "10/m/user",
    "change_password": "10/m/user",
}
ALLAUTH_TRUSTED_PROXY_COUNT = env_int("PROXY_COUNT", 1) if BEHIND_PROXY else 0

# Second factors
MFA_ADAPTER = "portal.accounts.factors.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True
# A browser offers passkeys without HTTPS on localhost alone, which is what this lets pass.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = ALONE
_DECIDING = "administrator,auditor,reviewer,legal_reviewer,privacy_reviewer,security_reviewer,review_delegate"
MFA_REQUIRED_ROLES = set(env_list("MFA_REQUIRED_ROLES", "" if ALONE else _DECIDING)) - {"none"}

# Lock-outs
LOCKOUT_FAILURES = env_int("LOCKOUT_FAILURES", 5)
LOCKOUT_ADDRESS_FAILURES = env_int("LOCKOUT_ADDRESS_FAILURES", 50)
LOCKOUT_MINUTES = env_int("LOCKOUT_MINUTES", 15)
AXES_HANDLER = "portal.accounts.locking.Counter"
AXES_LOCKOUT_CALLABLE = "portal.accounts.locking.locked_out"
AXES_USERNAME_CALLABLE = "portal.accounts.locking.name_of"
AXES_CLIENT_IP_CALLABLE = "portal.accounts.locking.address_of"
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_FAILURE_LIMIT = LOCKOUT_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOCKOUT_MINUTES)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["login", "password", "oldpassword", "csrfmiddlewaretoken"]

# Single sign-on
SOCIALACCOUNT_ADAPTER = "portal.accounts.sso.SocialAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SSO_CREATE_DOMAINS = [domain.lower() for domain in env_list("SSO_CREATE_DOMAINS", "")]
SSO_SECOND_FACTOR = env_bool("SSO_SECOND_FACTOR", False)
_trusted = {"verified_email": [domain.lower() for domain in env_list("SSO_TRUSTED_DOMAINS", "")]}
SOCIALACCOUNT_PROVIDERS: dict[str, dict] = {
    "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []},
    "saml": {"APPS": []},
}
if OIDC_ISSUER := env("OIDC_ISSUER").rstrip("/"):
    if not env("OIDC_CLIENT_ID"):
        raise ImproperlyConfigured("OIDC_ISSUER is set and OIDC_CLIENT_ID is not; the provider gives you both.")
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"] = [
        {
            "provider_id": "oidc",
            "name": env("OIDC_NAME", "your organisation"),
            "client_id": env("OIDC_CLIENT_ID"),
            "secret": env("OIDC_CLIENT_SECRET"),
            "settings": {"server_url": OIDC_ISSUER, **_trusted},
        }
    ]
if SAML_SSO_URL := env("SAML_SSO_URL"):
    if not (env("SAML_ENTITY_ID") and env("SAML_CERTIFICATE")):
        raise ImproperlyConfigured("SAML_SSO_URL is set; SAML_ENTITY_ID and SAML_CERTIFICATE are needed too.")
    SOCIALACCOUNT_PROVIDERS["saml"]["APPS"] = [
        {
            "provider_id": env("SAML_ENTITY_ID"),
            "name": env("SAML_NAME", "your organisation"),
            "client_id": "saml",
            "settings": {
                "idp": {
                    "entity_id": env("SAML_ENTITY_ID"),
                    "sso_url": SAML_SSO_URL,
                    "x509cert": env("SAML_CERTIFICATE"),
                },
                # On an organisation's own network a host may have a name without a dot.
                "advanced": {"allow_single_label_domains": True},
                **_trusted,
                **(
                    {"attribute_mapping": {"email": env("SAML_EMAIL_ATTRIBUTE"), "name": env("SAML_NAME_ATTRIBUTE")}}
                    if env("SAML_EMAIL_ATTRIBUTE")
                    else {}
                ),
            },
        }
    ]
# Signing in posts a form that the provider's own site answers: the content policy has to know where that may be.
SSO_ORIGINS = sorted(
    {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in (OIDC_ISSUER, SAML_SSO_URL) if url}
    | set(env_list("SSO_ORIGINS", ""))
)

GUARDIAN_RAISE_403 = False
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
GATEHOUSE_SCOPE_MODEL = "projects.Team"
SILENCED_SYSTEM_CHECKS = [
    # guardian's backend answers has_perm(), which a superuser passes; rights are asked of governance.services.access.
    "guardian.W001",
]

# Emergency access: how long one may last, and how soon after its end somebody else must have looked at it
BREAK_GLASS_MAX_HOURS = env_int("BREAK_GLASS_MAX_HOURS", 8)
BREAK_GLASS_REVIEW_DAYS = env_int("BREAK_GLASS_REVIEW_DAYS", 3)

# Whether what is erased from behind the ledger's commitments needs a second person who agrees
ERASURE_BY_TWO = env_bool("ERASURE_BY_TWO", False)

# The ledger
LEDGER_KEY_FILE = Path(env("LEDGER_KEY_PATH", str(VAR / "ledger" / "ledger.key")))
LEDGER_ORIGIN = env("LEDGER_ORIGIN", "gatehouse.local/ledger")
# Where checkpoints are sent, as kind:place (see governance/anchors/), and how often.
LEDGER_ANCHORS = env_list("LEDGER_ANCHORS", "")
LEDGER_ANCHOR_SECONDS = env_int("LEDGER_ANCHOR_SECONDS", 3600)
LEDGER_WEBHOOK_SECRET = env("LEDGER_WEBHOOK_SECRET")
LEDGER_TSA_ROOTS = env("LEDGER_TSA_ROOTS")

# The doorbell
CELERY_BROKER_URL = env("CELERY_BROKER_URL", f"filesystem://{VAR / 'broker'}")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "data"
CELERY_TASK_ROUTES = {
    "training.*": {"queue": "training"},
    "projects.*": {"queue": "data"},
    "governance.*": {"queue": "data"},
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
if CELERY_BROKER_URL.startswith("filesystem://"):
    _broker = Path(CELERY_BROKER_URL.removeprefix("filesystem://"))
    CELERY_BROKER_URL = "filesystem://"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "messages"),
        "data_folder_out": str(_broker / "messages"),
        "control_folder": str(_broker / "control"),
        "polling_interval": 0.1,
    }

# Jobs
JOB_LEASE_SECONDS = env_float("JOB_LEASE_SECONDS", 60)
JOB_HEARTBEAT_SECONDS = env_float("JOB_HEARTBEAT_SECONDS", 15)
JOB_ATTEMPTS = 3
# The chaos tests alone may turn fencing off, to show that without it they do find stale writes (portal.E002).
CHAOS = env_bool("CHAOS", False)
JOB_FENCING = env_bool("JOB_FENCING", True)
SWEEP_SECONDS = 2
# How long a queued job may lie unclaimed before the doorbell is rung again.
RING_AGAIN_SECONDS = 10
# Shared by all workers where there are several machines: a job continues from the checkpoints that it left here.
RUN_ROOT = Path(env("RUN_ROOT", str(VAR / "runs")))
ENGINE_COMMAND = [sys.executable, "-m", "training.engine"]
JOB_MEMORY_MB = env_int("JOB_MEMORY_MB", 0)
# Folders of base models that an operator placed on this machine; people choose among them by name.
MODEL_ROOTS = [Path(root) for root in env_list("MODEL_ROOTS", str(VAR / "base-models"))]
ENGINE_SOCKET = VAR / "run" / "engine.sock"
ENGINE_TOKEN_FILE = VAR / "run" / "engine.token"
ENGINE_CACHE = VAR / "engine"
ENGINE_MEMORY_MB = env_int("ENGINE_MEMORY_MB", 2048)
PREDICT_RATE = env("PREDICT_RATE", "300/min")
UPLOAD_RATE = env("UPLOAD_RATE", "60/hour")
# Programs that wait for their code to be confirmed ask every five seconds, several of them from one address.
DEVICE_RATE = env("DEVICE_RATE", "120/min")
PREDICT_MAX_TEXTS = 256
PREDICT_MAX_CHARACTERS = 20_000
# The longest text of one call, in tokens; and how long an answer goes on after its model is no longer published.
GENERATION_MAX_TOKENS = env_int("GENERATION_MAX_TOKENS", 4096)
STREAM_LOOK_SECONDS = env_float("STREAM_LOOK_SECONDS", 3)
# A server that an operator lets answer for published models, and which: team/name=its own name, separated by commas.
UPSTREAM_URL, UPSTREAM_KEY = env("UPSTREAM_URL").rstrip("/"), env("UPSTREAM_KEY")
UPSTREAM_MODELS = dict(pair.split("=", 1) for pair in env_list("UPSTREAM_MODELS", "") if "=" in pair)
if UPSTREAM_MODELS and not UPSTREAM_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured("UPSTREAM_MODELS is set; UPSTREAM_URL must say where they are, as https://host/v1.")

# What use costs, see portal/gateway/metering/prices.py
CURRENCY = env("CURRENCY", "EUR").upper()
if not re.fullmatch(r"[A-Z]{3}", CURRENCY):
    raise ImproperlyConfigured(f"CURRENCY is {CURRENCY!r}; give the three letters of ISO 4217, such as EUR.")
PRICES = env_prices("PRICES")
# Opens what was said in calls, where a model's policy lets it be kept; every machine of the site needs the same.
BODIES_KEY_FILE = Path(env("BODIES_KEY_PATH", str(VAR / "bodies.key")))
# For how long one call can keep a device busy: a budget holds as much while the call runs.
CALL_MAX_SECONDS = env_int("CALL_MAX_SECONDS", 60)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "governance.interfaces.credentials.TokenAuthentication",
        "governance.interfaces.credentials.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "governance.interfaces.cursors.Cursor",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["governance.interfaces.credentials.PersonThrottle"],
    "DEFAULT_THROTTLE_RATES": {"person": env("API_RATE", "600/min")},
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
    "EXCEPTION_HANDLER": "governance.interfaces.problems.handler",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Gatehouse",
    "DESCRIPTION": "Governed AI adoption: use cases, datasets, fine-tuning jobs, approvals, published models.",
    "VERSION": GATEHOUSE_VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "governance.interfaces.schema.declare_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "UseCaseStage": "projects.models.use_cases.Stage",
        "DatasetVersionState": "projects.models.DatasetVersion.State",
        "BaseModelState": "training.models.BaseModel.State",
        "JobState": "training.models.TrainingJob.State",
        "ModelVersionState": "training.models.ModelVersion.State",
        "PublicationState": "training.models.Publication.State",
        "ApprovalState": "governance.models.ApprovalRequest.State",
        "DecisionVerdict": "governance.models.Decision.Verdict",
        "AccessReviewVerdict": "governance.models.AccessReviewItem.Verdict",
        "BreakGlassVerdict": "governance.models.BreakGlass.Verdict",
        "BreakGlassState": "governance.serializers.break_glass.STATES",
        "DelegationState": "governance.serializers.approvals.DELEGATION_STATES",
        "ErasureState": "governance.models.Erasure.State",
        "AccessReviewState": "governance.serializers.access_reviews.STATES",
        "VerificationState": "governance.models.ledger.Verification.State",
        "UsageKind": "portal.models.Kind",
        "UsageOutcome": "portal.models.Outcome",
        "FeedbackThumb": "portal.models.Feedback.Thumb",
        "QuotaSubject": "portal.models.Quota.Subject",
        "SavedViewAudience": "portal.models.SavedView.Audience",
        "PublicationAudience": "training.models.Publication.Audience",
        "RiskTier": "governance.models.approvals.TIER_CHOICES",
    },
}

# Tells every caller how long the server took and how many queries it made; for measuring, not for the open network.
SERVER_TIMING = env_bool("SERVER_TIMING", DEBUG)

# Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]

# Doors
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SECURE_SSL_REDIRECT = env_bool("HTTPS_REDIRECT", True)
    # The supervisor and load balancers ask for these on loopback, without TLS.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF, *SSO_ORIGINS],
        "frame-ancestors": [NONE],
    }
}

# Mail: to a server where one is named, else into the log
EMAIL_HOST = env("EMAIL_HOST")
EMAIL_BACKEND = env(
    "EMAIL_BACKEND",
    "django.core.mail.backends.smtp.EmailBackend" if EMAIL_HOST else "django.core.mail.backends.console.EmailBackend",
)
EMAIL_USE_SSL = env_bool("EMAIL_USE_SSL", False)
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", bool(EMAIL_HOST) and not EMAIL_USE_SSL)
EMAIL_PORT = env_int("EMAIL_PORT", 465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_HOST_USER = env("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD")
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env("EMAIL_FROM", f"gatehouse@{urlsplit(BASE_URL).hostname or 'localhost'}")
if EMAIL_USE_SSL and EMAIL_USE_TLS:
    raise ImproperlyConfigured("EMAIL_USE_SSL and EMAIL_USE_TLS exclude each other: TLS from the start, or after it.")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "WARNING" if TESTING else "INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        # Names who failed to sign in; the ledger has it, where it can be erased.
        "axes": {"level": "ERROR"},
        "presidio-analyzer": {"level": "ERROR"},
        # Says of the filesystem transport, at every start, that no host name was given; there is none to give.
        "kombu.connection": {"level": "ERROR"},
    },
}

if not DEBUG and not TESTING and "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS=* lets any site speak in your name; list your host names.")
