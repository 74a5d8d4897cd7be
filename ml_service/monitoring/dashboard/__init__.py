"""The dashboard: a page over telemetry, served by the process that receives it."""
