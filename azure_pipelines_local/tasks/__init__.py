"""The tasks that run here. Each is a function with a description of its inputs."""
