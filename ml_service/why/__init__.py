"""Why a run failed: what its platform and its telemetry know of it, beside the last good run."""
