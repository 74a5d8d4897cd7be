"""Telemetry received and read back: the local sink and its store, or Log Analytics on Azure."""
