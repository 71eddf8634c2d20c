"""The OpenAPI document: what drf-spectacular finds, plus the error answers that every operation shares."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

ERROR_STATUSES = {
    "400": "The request is malformed or a parameter is wrong.",
    "401": "No credential, or one that is not valid.",
    "402": "The organisation's quota is used up.",
    "403": "The role or the key's scopes do not allow this.",
    "404": "No such object in your organisation.",
    "405": "The method is not allowed here.",
    "409": "The request conflicts with what exists.",
    "413": "The body, the file or the audio is too large.",
    "415": "The content type is not supported here.",
    "422": "The audio cannot be used.",
    "429": "Too many requests; see Retry-After.",
    "500": "A fault of the server; it is logged under the request id.",
    "503": "Overloaded or starting; see Retry-After.",
}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "code", "message", "param", "request_id"],
            "properties": {
                "type": {
                    "type": "string",
                    "enum": [
                        "invalid_request_error",
                        "authentication_error",
                        "permission_error",
                        "rate_limit_error",
                        "quota_error",
                        "server_error",
                    ],
                },
                "code": {"type": "string", "description": "Stable, for programs."},
                "message": {"type": "string", "description": "One clear sentence, for people."},
                "param": {"type": "string", "nullable": True, "description": "The field that is wrong."},
                "request_id": {"type": "string"},
            },
        }
    },
}
_OPENAI_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string", "description": "As OpenAI's, e.g. insufficient_quota."},
                "param": {"type": "string", "nullable": True},
                "code": {"type": "string", "nullable": True},
                "request_id": {"type": "string"},
            },
        }
    },
}
_DEEPGRAM_ERROR_SCHEMA = {
    "type": "object",
    "required": ["err_code", "err_msg", "request_id", "error"],
    "properties": {
        "err_code": {"type": "string", "description": "As Deepgram's, e.g. INVALID_AUTH."},
        "err_msg": {"type": "string"},
        "request_id": {"type": "string"},
        "error": {"type": "object", "description": "The error as all routes have it."},
    },
}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


class ContractSchema(AutoSchema):
    """Names operations by path, and tags them by their first path segment under /api/v1."""

    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.split("/") if part]
        if parts == ["v1", "listen"]:
            return ["deepgram"]
        if parts[0] == "v1":
            return ["openai"]
        return [parts[2] if parts[:2] == ["api", "v1"] and len(parts) > 2 else parts[0]]

    def get_auth(self) -> list[dict[str, list[str]]]:
        access = getattr(self.view, "access", {}).get(self.method)
        return super().get_auth() if access and not access.public else []


def add_error_responses(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Gives every operation the error answers, in one shape; those of the OpenAI-compatible API in OpenAI's."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {
        "Error": _ERROR_SCHEMA,
        "OpenAIError": _OPENAI_ERROR_SCHEMA,
        "DeepgramError": _DEEPGRAM_ERROR_SCHEMA,
    }
    for route, path in result["paths"].items():
        shape = _content(_error_shape(route))
        for operation in path.values():
            declared = operation["responses"]
            for status, description in ERROR_STATUSES.items():
                declared.setdefault(status, {"description": description})
            for status, answer in declared.items():
                if status >= "400":
                    answer.setdefault("content", shape)
    return result


def _error_shape(route: str) -> str:
    if route == "/v1/listen":
        return "DeepgramError"
    return "OpenAIError" if route.startswith("/v1/") else "Error"
