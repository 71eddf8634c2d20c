"""Messages of the live sockets, and what is said of those that are wrong."""

from __future__ import annotations

import pytest
from rest_framework import serializers

from common.errors import InvalidRequest
from common.serializers import StrictSerializer
from sockets import messages


class ListSerializer(StrictSerializer):
    words = serializers.ListField(child=serializers.CharField(max_length=3))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "words", "parameter_required"),
        ({"words": ["one", "four"]}, "words.1", "parameter_max_length"),
        ({"word": "one"}, "word", "parameter_unknown"),
    ],
)
def test_names_what_is_wrong_however_deep_it_lies(fields: dict, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages.validated(ListSerializer, fields)
    assert (refused.value.param, refused.value.code) == (param, code)
