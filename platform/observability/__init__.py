"""Metrics, traces, error reports and `manage.py doctor`: what the platform says of itself to its operators."""
