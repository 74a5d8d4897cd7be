# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A batch of files that were dropped
#
# `mlops ingest` claims files in the landing and has this notebook executed for them, by papermill, as the step of
# `insurance_claims/pipelines/ingestion.yml`. Good rows go to `curated/`, the others with their reasons to
# `quarantine/`. The executed copy is kept as evidence. The work is done by `insurance_claims/ingestion/`, which has
# tests; here it is put together and looked at.

# %%
from pathlib import Path

import pandas as pd

from insurance_claims.ingestion.batch import open_batch, write_report
from insurance_claims.ingestion.engines import choose_engine

# %% tags=["parameters"]
landing = "landing"
batch = ""
output = "ingested"
max_bad = 0.05
engine = "local"

# %% [markdown]
# ## What was claimed

# %%
_, claimed = open_batch(landing, batch)
folder = Path(output)
folder.mkdir(parents=True, exist_ok=True)
pd.DataFrame(claimed.files)

# %% [markdown]
# ## Validate, and part the rows

# %%
results = []
for result in choose_engine(engine)(landing, claimed, folder, max_bad):
    print(result.describe(), flush=True)
    results.append(result)

# %% [markdown]
# ## What became of them
#
# The report is written only where every file has its outcome and every part is there.

# %%
write_report(folder, claimed, results)
outcomes = pd.DataFrame(
    [
        {
            "name": item.file.name,
            "status": item.outcome.status,
            "rows": item.outcome.rows,
            "bad": item.outcome.bad,
            "added": ", ".join(item.outcome.added),
            "reason": item.outcome.reason,
        }
        for item in results
        if item.outcome
    ]
)
outcomes

# %% [markdown]
# ## Which columns are to blame

# %%
blame = pd.Series(dtype="int64")
for item in results:
    if item.outcome and item.outcome.reasons:
        blame = blame.add(pd.Series(item.outcome.reasons), fill_value=0)
blame.astype(int).sort_values(ascending=False).rename("times").to_frame()
