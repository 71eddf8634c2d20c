"""Lists on pages: one page of rows, and the form that filters them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django import forms
from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row")
ModelRow = TypeVar("ModelRow", bound=Model)

PAGE_SIZE = 50
MOST_COUNTED = 10_000
MOST_PAGES = 500


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """One page of a list. `total` stops at MOST_COUNTED: counting a million rows is not worth a slow page."""

    rows: tuple[Row, ...]
    number: int  # of the page, from 1
    size: int
    total: int
    has_next: bool
    query: str  # the query string without the page, ending in "&" where there is one

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def worth_saying(self) -> bool:
        """Whether a line about pages and numbers says more than the rows do."""
        return self.number > 1 or self.has_next or len(self.rows) > 10

    @property
    def first(self) -> int:
        return (self.number - 1) * self.size + 1 if self.rows else 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1 if self.rows else 0

    @property
    def more_than_total(self) -> bool:
        return self.total >= MOST_COUNTED

    @property
    def previous_url(self) -> str:
        return f"?{self.query}page={self.number - 1}" if self.number > 1 else ""

    @property
    def next_url(self) -> str:
        return f"?{self.query}page={self.number + 1}" if self.has_next else ""


def listing(request: HttpRequest, rows: QuerySet[ModelRow], *, size: int = PAGE_SIZE) -> Listing[ModelRow]:
    """The page of `rows` that `?page=` asks for, the first without one. One query, and one to count a longer list.

    One more on later pages, and for rows with joins: what is skipped and sorted is ids alone, not whole rows.
    """
    number = _page_number(request)
    start = (number - 1) * size
    if start or rows.query.select_related:
        ids = list(rows.values_list("pk", flat=True)[start : start + size + 1])
        by_id = {row.pk: row for row in rows.order_by().filter(pk__in=ids)}
        found = [by_id[key] for key in ids if key in by_id]
    else:
        found = list(rows[: size + 1])
    has_next = len(found) > size
    known = start + len(found) if found and not has_next else None
    total = known if known is not None else rows.order_by()[:MOST_COUNTED].count()
    return Listing(tuple(found[:size]), number, size, total, has_next and number < MOST_PAGES, _other_query(request))


def listing_of(request: HttpRequest, rows: Sequence[Row], *, size: int = PAGE_SIZE) -> Listing[Row]:
    """The same of rows that are all there, such as those that no database holds."""
    number = _page_number(request)
    start = (number - 1) * size
    shown = tuple(rows[start : start + size])
    return Listing(shown, number, size, len(rows), start + size < len(rows), _other_query(request))


def _page_number(request: HttpRequest) -> int:
    value = request.GET.get("page", "1")
    return min(max(int(value), 1), MOST_PAGES) if value.isascii() and value.isdigit() and len(value) < 6 else 1


def _other_query(request: HttpRequest) -> str:
    query = request.GET.copy()
    query.pop("page", None)
    return f"{query.urlencode()}&" if query else ""


class FilterForm(forms.Form):
    """The filters of a list, in its query string. Nothing is required; `values` holds what was chosen."""

    use_required_attribute = False

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.GET, auto_id="filter-%s")
        self.path = request.path
        for field in self.fields.values():
            field.required = False

    @property
    def values(self) -> dict[str, Any]:
        """What selectors take: the filters that are set and make sense."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "", [])}

    @property
    def active(self) -> bool:
        return any(self.data.get(name) for name in self.fields)
