"""Canary rollouts and rollbacks: pure logic, written against the small protocols in ``protocols``."""
