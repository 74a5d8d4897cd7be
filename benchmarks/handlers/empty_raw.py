"""A handler that does nothing, handed the HTTP request as score.py is: the fastest that the server can answer."""

from azureml_inference_server_http.api.aml_request import rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse
from flask import Request


def init() -> None:
    """Nothing to load."""


@rawhttp  # type: ignore[untyped-decorator]
def run(_: Request) -> AMLResponse:
    """Answer without a look at the request."""
    return AMLResponse({}, 200, json_str=True)
