"""Alerts as data: what is watched, evaluated on a laptop and compiled to Azure Monitor."""
