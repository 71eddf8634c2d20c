"""The REST API: renderers, authentication, limits, tokens and the OpenAPI document."""

from __future__ import annotations

from datetime import timedelta

from config import env
from config.settings.core import VERSION
from config.settings.security import SECRET_KEY

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.CredentialAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.ActorPermission"],
    "DEFAULT_THROTTLE_CLASSES": ["common.ratelimit.ActorThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["common.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "common.negotiation.LenientNegotiation",
    "DEFAULT_SCHEMA_CLASS": "common.schema.ContractSchema",
    "URL_FORMAT_OVERRIDE": None,  # `?format=srt` is a parameter of our own, not the name of a renderer
    "EXCEPTION_HANDLER": "common.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}

ACCESS_TOKEN_MINUTES = env.integer("ACCESS_TOKEN_MINUTES", 60, minimum=1)
REFRESH_TOKEN_DAYS = env.integer("REFRESH_TOKEN_DAYS", 14, minimum=1)
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=ACCESS_TOKEN_MINUTES),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=REFRESH_TOKEN_DAYS),
    "USER_ID_CLAIM": "sub",
    "UPDATE_LAST_LOGIN": False,
}

# Requests a minute. An API key may have a limit of its own.
RATE_LIMIT_ACTOR = env.integer("RATE_LIMIT_ACTOR_PER_MINUTE", 1200, minimum=1)
RATE_LIMIT_ORGANIZATION = env.integer("RATE_LIMIT_ORGANIZATION_PER_MINUTE", 3000, minimum=1)
# Failed log-ins a minute, for one e-mail address and for one client address.
RATE_LIMIT_LOGIN_FAILURES = env.integer("RATE_LIMIT_LOGIN_FAILURES_PER_MINUTE", 10, minimum=1)
# And an hour, for one e-mail address: ten a minute, all day, would be a search.
RATE_LIMIT_LOGIN_FAILURES_HOUR = env.integer("RATE_LIMIT_LOGIN_FAILURES_PER_HOUR", 100, minimum=1)
# API keys and tokens that are refused, a minute, from one client address.
RATE_LIMIT_CREDENTIAL_FAILURES = env.integer("RATE_LIMIT_CREDENTIAL_FAILURES_PER_MINUTE", 120, minimum=1)
# Links to set a new password an hour, asked for one e-mail address; from one client address ten times as many.
RATE_LIMIT_PASSWORD_RESETS = env.integer("RATE_LIMIT_PASSWORD_RESETS_PER_HOUR", 5, minimum=1)
RATELIMIT_ENABLE = True

SPECTACULAR_SETTINGS = {
    "TITLE": "Speech platform",
    "VERSION": VERSION,
    "DESCRIPTION": (
        "Text to speech and speech to text on your own machines.\n\n"
        "Authenticate with `x-api-key: <key>`, `Authorization: Bearer <key>` or, after `POST /api/v1/auth/login`, "
        "`Authorization: Bearer <access_token>`. Every answer carries `X-Request-ID`; every error has the same shape."
    ),
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "accounts.models.Role.choices",
        "SsoRoleEnum": "accounts.models.SsoProvider.ROLES",
        "ServiceAccountRoleEnum": "accounts.models.ServiceAccount.ROLES",
        "SpeechTaskEnum": "analytics.models.Task.choices",  # also the scopes of API keys
        "TranscriptionTaskEnum": ["transcribe", "translate"],
        "LexiconFormatEnum": "tts.lexicons.api.FORMATS",
        "SpeechFormatEnum": "tts.api.FORMATS",
        "OpenAIAliasKindEnum": "openai_api.models.AliasKind.choices",
        "OpenAISpeechFormatEnum": "openai_api.speech.FORMATS",
        "OpenAITranscriptionFormatEnum": "openai_api.transcription_fields.TRANSCRIPTION_FORMATS",
        "OpenAITranslationFormatEnum": "openai_api.transcription_fields.TRANSLATION_FORMATS",
        "OpenAIRealtimeIncludeEnum": "openai_api.realtime.settings.INCLUDES",
        "DeliveryStatusEnum": "webhooks.models.DeliveryStatus.choices",
        "WebhookEventEnum": "webhooks.models.Event.choices",
        "JobStatusEnum": "jobs.models.JobStatus.choices",
        "ModelStatusEnum": "models_registry.models.ModelStatus.choices",
        "ModelTaskEnum": "models_registry.models.ModelTask.choices",
        "RolloutModeEnum": "models_registry.models.RolloutMode.choices",
        "RolloutStatusEnum": "models_registry.models.RolloutStatus.choices",
        "RolloutScopeEnum": ["organization", "platform"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "common.schema.add_error_responses",
    ],
}
