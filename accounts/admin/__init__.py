"""Organisations, people, members, log-ins, invitations, service accounts and API keys."""

from accounts.admin import joining, keys, organizations, people

__all__ = ["joining", "keys", "organizations", "people"]
