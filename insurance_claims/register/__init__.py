"""Registration: a promoted model becomes a version with its lineage."""
