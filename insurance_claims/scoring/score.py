"""The scoring script of the inference server: ``init`` loads the model, ``run`` answers ``POST /score``.

The same file runs in Azure Machine Learning's images and on a laptop, in ``azureml-inference-server-http``. Whatever is
wrong with a request is answered with 4xx and a reason in JSON; 500 means a bug of ours.
"""

from __future__ import annotations

import gc
import logging
import os
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import IO

import orjson
from azureml_inference_server_http.api.aml_request import rawhttp
from flask import Request, Response, g

from insurance_claims import schema, telemetry
from insurance_claims.monitoring import trace
from insurance_claims.monitoring.collection import Collector, collector
from insurance_claims.monitoring.recorder import Recorder, interval
from insurance_claims.parameters import load_parameters
from insurance_claims.scoring.request import RequestError
from insurance_claims.scoring.scorer import Scorer, load_scorer

MODEL_DIR = "AZUREML_MODEL_DIR"
VERSION_HEADER = "x-model-version"
_DISCARDED = 8
"""A body above the limit is read and thrown away up to this many times the limit."""
_PIECE = 65536

_TRACEPARENT = "HTTP_TRACEPARENT"

_scorer: Scorer | None = None
_recorder: Recorder | None = None
_collector: Collector | None = None


def init() -> None:
    """Load the model of AZUREML_MODEL_DIR and score once, so that the first request finds all warm.

    Where telemetry is on, this process begins to count its requests, and where collection is, to keep their rows.

    Raises:
        ClaimsError: there is no sound model, or the parameters do not fit. The server prints it and exits.
    """
    global _scorer, _recorder, _collector
    scorer = load_scorer(Path(os.environ.get(MODEL_DIR, "")), load_parameters().scoring)
    row = [column.minimum for column in schema.FEATURES]
    for rows in ([row], [row, row]):
        scorer.score(orjson.dumps({"data": rows}), "warm-up")
    _scorer = scorer
    emitter = telemetry.emitter("scoring")
    if emitter is not None:
        _recorder = Recorder(emitter, (scorer.name, scorer.version), interval())
    _collector = collector((scorer.name, scorer.version), emitter)
    logging.getLogger("azmlinfsrv").addFilter(_says_something)
    # What is loaded now stays: looking through it for garbage would stop the server for some 90 ms now and then.
    gc.collect()
    gc.freeze()


@rawhttp  # type: ignore[untyped-decorator]
def run(request: Request) -> Response:
    """Answer one HTTP request."""
    assert _scorer is not None, "the server calls init() first"
    began = perf_counter()
    # The server's own id, which it also returns as x-ms-request-id: the caller's if there is one, else a new one.
    request_id: str = g.legacy_client_request_id
    given = request.environ.get(_TRACEPARENT)
    span = trace.continued(given) if given else None
    try:
        body = read_body(request, _scorer.limits.max_body_bytes)
        scored = _scorer.score(body, request_id)
    except RequestError as error:
        if _recorder is not None:
            _recorder.refused(began, error)
        refusal = orjson.dumps({"error": error.as_dict(), "request_id": request_id})
        return _response(refusal, error.status, _scorer.version, span)
    except BaseException as error:
        # The server ends a request that takes too long by an exception as well.
        if _recorder is not None:
            _recorder.failed(began, error, request_id, span)
        raise
    if _recorder is not None:
        _recorder.answered(began, scored.scores)
    if _collector is not None:
        _collector.answered(request_id, scored.rows, scored.scores)
    return _response(scored.answer, 200, _scorer.version, span)


def read_body(request: Request, limit: int) -> bytes:
    """The body of a POST request, of whatever content type.

    Raises:
        RequestError: the method is another, or the body is above the limit or breaks off.
    """
    if request.method != "POST":
        raise RequestError(f"method {request.method} is not allowed: use POST", status=405)
    # Not the request's own stream: of a body in chunks it would silently cut off what is above the limit.
    stream: IO[bytes] = request.environ["wsgi.input"]
    stated = request.content_length
    try:
        body = stream.read(limit + 1) if stated is None or stated <= limit else None
    except Exception as error:
        # Broken chunks, a connection that breaks off, a sender too slow for the server's time limit: every WSGI server
        # has exceptions of its own for these, and all of them are the sender's.
        reason = str(error) or type(error).__name__
        raise RequestError(f"the body cannot be read to its end: {reason}") from None
    if body is None or len(body) > limit:
        _discard(stream, _DISCARDED * limit)
        raise RequestError(f"the body is above the limit of {limit} bytes", status=413)
    if stated is not None and len(body) < stated:
        raise RequestError(f"the body breaks off after {len(body)} of {stated} bytes")
    return body


def _discard(stream: IO[bytes], most: int) -> None:
    # A connection that is closed on unread bytes is reset, and the sender never sees the answer.
    with suppress(Exception):
        while most > 0 and (piece := stream.read(min(most, _PIECE))):
            most -= len(piece)


def _response(content: bytes, status: int, version: int, span: trace.Trace | None) -> Response:
    headers = {"Content-Type": "application/json", VERSION_HEADER: str(version)}
    if span is not None:
        headers[trace.HEADER] = span.header
    if status == 405:
        headers["Allow"] = "POST"
    return Response(content, status, headers)


def _says_something(record: logging.LogRecord) -> bool:
    # The server logs this line for every request, beside the one with method, status and time.
    return record.msg != "run() output is HTTP Response"
