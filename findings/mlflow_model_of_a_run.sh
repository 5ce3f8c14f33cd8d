#!/usr/bin/env bash
# mlflow 3.17.2, mlflow.models.Model.log with run_id.
#
# The argument run_id names "the run ID to associate with this model". The model's entry names that run as its source,
# yet it does not lie in the run's experiment but in the active one, Default where none is set: a search in the
# experiment of the run finds no model. mlflow.set_experiment of the run's experiment before the call puts it there.
#
# Output seen:
#   run in experiment 1; its model, whose source is that run, in experiment 0
#   found in the run's experiment: 0, in Default: 1
#   after set_experiment, found in the run's experiment: 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install mlflow==3.17.2
cd "$folder"
cat > same.py <<'PYTHON'
import mlflow


class Same(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


mlflow.models.set_model(Same())
PYTHON
"$folder/venv/bin/python" - <<'PYTHON' 2> "$folder/log" || { cat "$folder/log" >&2; exit 1; }
import mlflow
from mlflow import MlflowClient
from mlflow.models import Model

mlflow.set_tracking_uri("sqlite:///runs.db")
client = MlflowClient()
experiment = client.create_experiment("sounds")
run = client.create_run(experiment).info.run_id


def log_model() -> str:
    made = Model.log(None, mlflow.pyfunc, name="model", run_id=run, python_model="same.py", pip_requirements=["mlflow"])
    return made.model_id


def found_in(where: str) -> int:
    return len(mlflow.search_logged_models([where], output_format="list"))


logged = mlflow.get_logged_model(log_model())
assert logged.source_run_id == run
print(f"run in experiment {experiment}; its model, whose source is that run, in experiment {logged.experiment_id}")
before = found_in(experiment), found_in("0")
print(f"found in the run's experiment: {before[0]}, in Default: {before[1]}")
mlflow.set_experiment(experiment_id=experiment)
log_model()
print(f"after set_experiment, found in the run's experiment: {found_in(experiment)}")
assert before == (0, 1) and found_in(experiment) == 1, "the model goes where its run is now"
PYTHON
