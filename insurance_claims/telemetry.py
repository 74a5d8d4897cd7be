"""What steps and scoring emit: events, metrics, exceptions and log messages, to Application Insights or the local sink.

Active where APPLICATIONINSIGHTS_CONNECTION_STRING is set; without it nothing is imported, started or kept. This is the
one module that knows OpenCensus, of which it takes the envelopes and the transport. OpenCensus' own handlers do not
do: they wait for a hanging endpoint when the process ends, and pile up files of what they could not send.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import socket
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring import trace as traces
from insurance_claims.monitoring.delivery import Delivery, Send
from insurance_claims.monitoring.redaction import scrub
from insurance_claims.monitoring.trace import Trace
from insurance_claims.register.lineage import ENVIRONMENT as LINEAGE

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
ITEM_ID = "item_id"
"""Property of everything that is sent: what is sent again after a lost answer keeps it."""

EXIT_SECONDS = 2.0
"""The longest that the end of a process waits for what is still to be sent."""

_SEND_SECONDS = 10.0
_LONGEST_VALUE = 8192
_HOST = socket.gethostname()
_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NONE: Mapping[str, Any] = {}
_LOG = logging.getLogger(__name__)
_IDS = {
    **{name: LINEAGE[name] for name in ("build_id", "pipeline_run_id", "git_commit")},
    "step_run_id": ("MLFLOW_RUN_ID", "AZUREML_RUN_ID"),
    "environment": ("MLOPS_ENVIRONMENT",),
}


class TelemetrySettingError(ClaimsError):
    """A variable that telemetry is set up with cannot be used."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where telemetry goes.

    Attributes:
        endpoint: address of the ingestion, without a slash at the end.
        key: the instrumentation key. Kept out of the repr.
    """

    endpoint: str
    key: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Connection:
        """Read a connection string.

        Raises:
            TelemetrySettingError: it has no endpoint or no key. The message does not repeat it.
        """
        pairs = (part.partition("=") for part in text.strip().split(";"))
        parts = {name.strip().lower(): value.strip() for name, _, value in pairs}
        endpoint = parts.get("ingestionendpoint", "").rstrip("/")
        key = parts.get("instrumentationkey", "").lower()
        if urlsplit(endpoint).scheme not in ("http", "https") or not _KEY.fullmatch(key):
            raise TelemetrySettingError(
                f"{CONNECTION} is no connection string: expected InstrumentationKey=GUID;IngestionEndpoint=https://..."
            )
        return cls(endpoint, key)

    @property
    def text(self) -> str:
        """The connection string."""
        return f"InstrumentationKey={self.key};IngestionEndpoint={self.endpoint}/"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to send; the envelope is made of it in the sending thread.

    Attributes:
        kind: of envelope.
        name: of an event or metric, type of an exception, text of a message.
        trace: that it belongs to.
        properties: of text.
        measurements: figures; of a metric ``value``.
        detail: message and stack of an exception, severity of a message.
        time: seconds since 1970.
    """

    kind: Literal["Event", "Metric", "Exception", "Message"]
    name: str
    trace: Trace
    properties: Mapping[str, str]
    measurements: Mapping[str, float]
    detail: Mapping[str, Any]
    time: float = field(default_factory=lambda: time.time())


class Emitter:
    """Takes what is to be sent and returns at once; a thread sends it.

    Args:
        connection: where to.
        role: what this process is: ``training`` or ``scoring``.
        environ: the ids that everything carries are read from it.
    """

    def __init__(
        self, connection: Connection, role: str, environ: Mapping[str, str] = os.environ
    ) -> None:
        found = {
            name: next((environ[variable] for variable in variables if environ.get(variable)), None)
            for name, variables in _IDS.items()
        }
        self.ids: dict[str, str] = {name: value for name, value in found.items() if value}
        self.trace = traces.of_process(environ, self.ids.get("pipeline_run_id"))
        self._delivery: Delivery[Item] = Delivery(lambda: _sender(connection, role))
        atexit.register(self._delivery.flush, EXIT_SECONDS)

    @property
    def dropped(self) -> int:
        """Items that could not be sent."""
        return self._delivery.dropped

    def event(
        self,
        name: str,
        properties: Mapping[str, str] = _NONE,
        measurements: Mapping[str, float] = _NONE,
        trace: Trace | None = None,
    ) -> None:
        """Something that happened, with text and figures on it."""
        self._put("Event", name, properties, trace, measurements)

    def metric(self, name: str, value: float, properties: Mapping[str, str] = _NONE) -> None:
        """One value of a metric, now."""
        self._put("Metric", name, properties, measurements={"value": value})

    def exception(
        self,
        error: BaseException,
        properties: Mapping[str, str] = _NONE,
        trace: Trace | None = None,
        with_message: bool = True,
    ) -> None:
        """An exception with the places that it passed through, never with values of variables.

        Args:
            error: that was raised.
            properties: of what was being done.
            trace: that it belongs to.
            with_message: send its message too. A ClaimsError's is always sent: it is worded by this project.
        """
        shown = str(error) if with_message or isinstance(error, ClaimsError) else ""
        stack = traceback.extract_tb(error.__traceback__)
        detail = {
            "message": scrub(shown) or type(error).__name__,
            "stack": [(place.filename, place.lineno, place.name) for place in stack],
        }
        self._put("Exception", type(error).__name__, properties, trace, detail=detail)

    def message(
        self, text: str, level: int = logging.INFO, properties: Mapping[str, str] = _NONE
    ) -> None:
        """A line of a log; level as in logging."""
        self._put("Message", scrub(text), properties, detail={"level": level})

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Send what waits, for so many seconds at most. Says whether all of it was sent or refused for good."""
        return self._delivery.flush(seconds)

    def is_sending(self) -> bool:
        """Whether the caller is the thread that sends, which must not feed itself."""
        return self._delivery.own_thread()

    def _put(
        self,
        kind: Literal["Event", "Metric", "Exception", "Message"],
        name: str,
        properties: Mapping[str, str],
        trace: Trace | None = None,
        measurements: Mapping[str, float] = _NONE,
        detail: Mapping[str, Any] = _NONE,
    ) -> None:
        trace = trace or self.trace
        everything = {
            **self.ids,
            "host": _HOST,
            "process": str(os.getpid()),
            "trace_id": trace.trace_id,
            ITEM_ID: uuid.uuid4().hex,
            **properties,
        }
        self._delivery.put(Item(kind, name, trace, everything, measurements, detail))


class LogHandler(logging.Handler):
    """Sends records of a log as messages.

    Args:
        emitter: sends them.
        level: the lowest that is sent.
    """

    def __init__(self, emitter: Emitter, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._emitter = emitter

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        if not self._emitter.is_sending():
            self._emitter.message(record.getMessage(), record.levelno, {"logger": record.name})


def emitter(role: str, environ: Mapping[str, str] = os.environ) -> Emitter | None:
    """What sends telemetry of this process; None where no connection string is set.

    Telemetry is never a reason to fail: of a connection string that cannot be used one warning is logged.

    Args:
        role: what this process is: ``training`` or ``scoring``.
        environ: holds the connection string.
    """
    text = environ.get(CONNECTION)
    if not text:
        return None
    try:
        return Emitter(Connection.parse(text), role, environ)
    except TelemetrySettingError as error:
        _LOG.warning("no telemetry is sent: %s", error)
        return None


def _sender(connection: Connection, role: str) -> Send[Item]:
    """What posts items. Imports OpenCensus, which takes a fifth of a second."""
    from opencensus.ext.azure.common import (  # type: ignore[import-untyped]
        Options,
        protocol,
        utils,
    )
    from opencensus.ext.azure.common.transport import (  # type: ignore[import-untyped]
        TransportMixin,
        TransportStatusCode,
    )

    # It would log whole envelopes, and the connection's address with each failure.
    logging.getLogger("opencensus").setLevel(logging.CRITICAL + 1)
    tags = {
        **utils.azure_monitor_context,
        "ai.cloud.role": f"insurance-claims-{role}",
        "ai.cloud.roleInstance": _HOST,
    }
    local = urlsplit(connection.endpoint).hostname in ("127.0.0.1", "localhost", "::1")

    class Transport(TransportMixin):  # type: ignore[misc]
        """OpenCensus' transport, without its files and its statistics for Microsoft."""

        def __init__(self) -> None:
            self.options = Options(
                connection_string=connection.text,
                timeout=_SEND_SECONDS,
                # A proxy that the environment names is for other hosts than this one.
                proxies=json.dumps({connection.endpoint.split(":")[0]: None} if local else {}),
            )
            self.options.endpoint = connection.endpoint
            self.storage = None
            self._consecutive_redirects = 0

        def _check_stats_collection(self) -> bool:
            # Without it the transport reports a time-out as refused for good. It only counts; nothing sends the counts.
            return True

    transport = Transport()

    def send(items: Sequence[Item]) -> bool:
        envelopes = [_envelope(protocol, connection.key, tags, item) for item in items]
        return bool(transport._transmit(envelopes) != TransportStatusCode.RETRY)

    return send


def _envelope(protocol: Any, key: str, tags: Mapping[str, str], item: Item) -> Any:
    properties = {name: value[:_LONGEST_VALUE] for name, value in item.properties.items()}
    if item.kind == "Event":
        data = protocol.Event(
            name=item.name, properties=properties, measurements=dict(item.measurements)
        )
    elif item.kind == "Metric":
        point = protocol.DataPoint(
            ns="insurance_claims", name=item.name, value=item.measurements["value"], count=1
        )
        data = protocol.MetricData(metrics=[point], properties=properties)
    elif item.kind == "Exception":
        data = protocol.ExceptionData(exceptions=[_exception(item)], properties=properties)
    else:
        # Application Insights has 0 for verbose to 4 for critical.
        severity = min(max(item.detail["level"] // 10 - 1, 0), 4)
        data = protocol.Message(message=item.name, severityLevel=severity, properties=properties)
    return protocol.Envelope(
        name=f"Microsoft.ApplicationInsights.{item.kind}",
        time=datetime.fromtimestamp(item.time, UTC).isoformat().replace("+00:00", "Z"),
        iKey=key,
        tags={
            **tags,
            "ai.operation.id": item.trace.trace_id,
            "ai.operation.parentId": item.trace.span_id,
        },
        data=protocol.Data(baseData=data, baseType=f"{item.kind}Data"),
    )


def _exception(item: Item) -> dict[str, Any]:
    places = list(enumerate(reversed(item.detail["stack"])))
    return {
        "id": 1,
        "outerId": 0,
        "typeName": item.name,
        "message": item.detail["message"],
        "hasFullStack": bool(places),
        "parsedStack": [
            {"level": level, "fileName": file, "line": line, "method": method}
            for level, (file, line, method) in places
        ],
    }
