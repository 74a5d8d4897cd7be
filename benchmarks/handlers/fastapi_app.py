"""The model behind FastAPI and uvicorn, as many serve one: Pydantic checks the types, an array goes to the booster."""

import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

_booster = lgb.Booster(model_file=Path(os.environ["AZUREML_MODEL_DIR"]) / "model.txt")

app = FastAPI()


class Rows(BaseModel):
    """The body of a request."""

    data: list[list[float]]


@app.get("/")
async def alive() -> str:
    """Answer once the model is loaded."""
    return "alive"


@app.post("/score")
async def score(rows: Rows) -> dict[str, list[float]]:
    """Score a request by position."""
    scores = _booster.predict(np.array(rows.data), num_threads=1)
    return {"result": np.asarray(scores).tolist()}
