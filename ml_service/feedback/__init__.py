"""What comes back from production: scored rows, what became of them, and what follows from it."""
