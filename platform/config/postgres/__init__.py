"""PostgreSQL as Django's backend has it, made to get over a restart of the database and a network that is cut."""

SESSION = (
    # The server finds out within half a minute that a client's network is gone, and lets go of what its transaction
    # had locked: the system's own time is two hours.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 20000",  # where an answer is still on its way, no such question is asked
    # A process that was stopped in the middle of a transaction does not keep others waiting for ever.
    "SET idle_in_transaction_session_timeout = '60s'",
)
"""What each connection says first."""

CLIENT = {
    "connect_timeout": 5,
    # The same from this side; milliseconds.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's parameters for connections over a network."""
