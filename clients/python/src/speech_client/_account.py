"""Models, usage, quota, and who one is. Of these an API key may ask for its identity and for the names of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from speech_client._flow import IO, Flow
from speech_client._http import Call, as_form, fetch
from speech_client._reading import read
from speech_client.errors import PermissionDenied
from speech_client.types import Identity, Model, Models, Quota, Usage


def models(io: IO) -> Flow[Models]:
    """The models of the installation and their state; with an API key only their names and tasks."""
    try:
        return read(Models, (yield from fetch(io, Call("GET", "/models/status"))).json())
    except PermissionDenied:
        data = (yield from fetch(io, Call("GET", "//v1/models"))).json()
        names = [Model(id=row["id"], name=row["id"], task=row.get("task", ""), raw=row) for row in data["data"]]
        return Models(models=names, raw=data)


def usage(io: IO, *, days: int = 30, group_by: Sequence[Literal["model", "api_key", "user"]] = ()) -> Flow[Usage]:
    """What the organisation used in the last days, today included. Needs a member's access token."""
    params = as_form({"days": days, "group_by": ["day", *group_by]})
    return read(Usage, (yield from fetch(io, Call("GET", "/analytics/usage", params=params))).json())


def quota(io: IO) -> Flow[Quota]:
    """What it may use this month, has used and has left. Needs a member's access token."""
    return read(Quota, (yield from fetch(io, Call("GET", "/analytics/quota"))).json())


def me(io: IO) -> Flow[Identity]:
    """Whom the credential stands for."""
    return read(Identity, (yield from fetch(io, Call("GET", "/auth/me"))).json())
