"""How request bodies are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser as BaseJSONParser

_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JSONParser(BaseJSONParser):
    """JSON as RFC 8259 has it: UTF-8 whatever the header says, and only characters that exist.

    A lone surrogate (`"\\ud800"`) cannot be stored, logged or sent back; so it is refused here, wherever it stands.
    """

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read()
        try:
            data = json.loads(body.decode("utf-8"), parse_constant=refuse_constant)
            if _ESCAPED_SURROGATE.search(body):
                json.dumps(data, ensure_ascii=False).encode("utf-8")
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except UnicodeError:
            raise ParseError("The JSON is not valid UTF-8, or has a lone surrogate.") from None
        except (json.JSONDecodeError, NotANumber) as error:
            raise ParseError(f"The body is not valid JSON: {error}.") from None
        except ValueError:  # Python reads 4,300 digits at most, and says how to change that
            raise ParseError("The JSON has a number of too many digits.") from None
        return data


def is_storable(text: str) -> bool:
    """Whether the database takes it: without NUL and lone surrogates, which JSON inside a field can bring."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


class NotANumber(ValueError):
    """A word for a number that JSON does not have."""


def refuse_constant(name: str) -> None:
    """For `json.loads`, which would take NaN and Infinity."""
    raise NotANumber(f"{name} is not a number in JSON")
