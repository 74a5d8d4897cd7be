"""Does a pipeline of Azure DevOps have the variables that .pipelines/insurance_claims-variables-template.yml wants?"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ml_service.findings import Finding

GROUP = "insurance_claims-vg"
VARIABLES = (
    *("SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME", "TENANT_ID"),
    "AZURE_RM_SVC_CONNECTION",
)
"""What differs between organisations, and so is in the variable group."""

_WHAT = "pipeline variables"
_AGENT = "TF_BUILD"
_UNKNOWN = re.compile(r"\$\([^)]*\)")


def pipeline_variables(environ: Mapping[str, str]) -> Finding:
    """Are they set? That can be seen on a build agent alone.

    Args:
        environ: variables of this process.
    """
    if _AGENT not in environ:
        return Finding(
            _WHAT,
            None,
            "seen on a build agent of Azure DevOps alone",
            f"from here: `az pipelines variable-group list --group-name {GROUP}` has to show {', '.join(VARIABLES)}",
        )
    # A name that Azure DevOps does not know stays as it was written.
    wrong = [name for name in VARIABLES if not environ.get(name) or _UNKNOWN.search(environ[name])]
    if wrong:
        commands = "; ".join(
            f"az pipelines variable-group variable create --group-id ID --name {name} --value VALUE"
            for name in wrong
        )
        return Finding(
            _WHAT, False, f"not set: {', '.join(wrong)}", f"in variable group {GROUP}: `{commands}`"
        )
    return Finding(_WHAT, True, f"all {len(VARIABLES)} of {GROUP} are set")
