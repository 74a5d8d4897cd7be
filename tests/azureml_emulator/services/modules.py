"""What steps consist of: modules (a snapshot with its arguments), data sources, and the types of data."""

from __future__ import annotations

import uuid
from typing import Any

from tests.azureml_emulator.routing import Call, Refused, Routes

routes = Routes()
_BASE = "/pipelines/v1.0{ws}"
_ID = "{id:[0-9a-f-]+}"
_DATA_TYPES = (
    *("AnyFile", "AnyDirectory", "AzureBlobReference", "AzureDataLakeReference"),
    *("AzureFilesReference", "AzureSqlDatabaseReference", "AzurePostgresDatabaseReference"),
    *("AzureDataLakeGen2Reference", "AzureMLDataset", "AzureMySqlDatabaseReference"),
    "DBFSReference",
)


@routes.add("GET", _BASE + "/DataTypes")
async def data_types(call: Call) -> list[dict[str, Any]]:
    """The types that every workspace knows."""
    return [
        {
            "Id": name,
            "Name": name,
            "Description": name,
            "IsDirectory": name == "AnyDirectory",
            "ParentDataTypeIds": [],
        }
        for name in _DATA_TYPES
    ]


@routes.add("POST", _BASE + "/Modules")
async def create_module(call: Call) -> dict[str, Any]:
    """Make a module."""
    return _create(call, "modules")


@routes.add("GET", _BASE + "/Modules/Hash/{hash:path}")
async def find_module(call: Call) -> dict[str, Any]:
    """A module by the hash that the client gave it."""
    return _with_interface(_find(call, "modules"))


@routes.add("GET", _BASE + "/Modules/" + _ID)
async def get_module(call: Call) -> dict[str, Any]:
    """A module by id."""
    return _with_interface(_get(call, "modules"))


@routes.add("POST", _BASE + "/DataSources")
async def create_data_source(call: Call) -> dict[str, Any]:
    """Make a data source: a path of a datastore."""
    return _create(call, "data sources")


@routes.add("GET", _BASE + "/DataSources/Hash/{hash:path}")
async def find_data_source(call: Call) -> dict[str, Any]:
    """A data source by the hash that the client gave it."""
    return _find(call, "data sources")


@routes.add("GET", _BASE + "/DataSources/" + _ID)
async def get_data_source(call: Call) -> dict[str, Any]:
    """A data source by id."""
    return _get(call, "data sources")


def _create(call: Call, kind: str) -> dict[str, Any]:
    made = {
        **call.json,
        "Id": str(uuid.uuid4()),
        "EntityStatus": "Active",
        "UploadState": "Completed",
        "CreatedDate": call.context.clock.text(),
    }
    table = call.workspace.table(kind)
    table[made["Id"]] = made
    if made.get("IdentifierHash"):
        call.workspace.table(f"{kind} by hash").setdefault(made["IdentifierHash"], made["Id"])
    return made


def _find(call: Call, kind: str) -> dict[str, Any]:
    found = call.workspace.table(f"{kind} by hash").get(call.match["hash"])
    if found is None:
        raise Refused(404, "NotFound", f"No {kind} with this hash.")
    made: dict[str, Any] = call.workspace.table(kind)[found]
    return made


def _get(call: Call, kind: str) -> dict[str, Any]:
    found: dict[str, Any] | None = call.workspace.table(kind).get(call.match["id"])
    if found is None:
        raise Refused(404, "NotFound", f"{call.match['id']} was not found.")
    return found


def _with_interface(module: dict[str, Any]) -> dict[str, Any]:
    structure = module["StructuredInterface"]
    ports = {
        "Inputs": [
            {
                "Name": port["Name"],
                "Documentation": None,
                "DataTypesIds": port.get("DataTypeIdsList"),
                "IsOptional": port.get("IsOptional"),
            }
            for port in structure.get("Inputs") or []
        ],
        "Outputs": [
            {"Name": port["Name"], "Documentation": None, "DataTypeId": port.get("DataTypeId")}
            for port in structure.get("Outputs") or []
        ],
        "ControlOutputs": [],
    }
    interface = {
        "Parameters": _parameters(structure.get("Parameters")),
        "MetadataParameters": _parameters(structure.get("MetadataParameters")),
        "DataPathParameters": [],
        "DataPathParameterList": [],
        "Ports": ports,
    }
    return {"Data": module, "Interface": interface}


def _parameters(given: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [
        {
            "Name": item["Name"],
            "Documentation": None,
            "DefaultValue": item.get("DefaultValue"),
            "IsOptional": item.get("IsOptional"),
            "Type": item.get("ParameterType"),
        }
        for item in given or []
    ]
