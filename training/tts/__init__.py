"""Recipes for voices."""
