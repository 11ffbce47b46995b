"""Prints as JSON what Metaflow's Client API knows of a run: result.py <flow>/<run>."""

import json
import sys

from metaflow import Run, namespace

namespace(None)
run = Run(sys.argv[1])
tasks = [task for step in run for task in step]
end = run.end_task.data
print(
    json.dumps(
        {
            "successful": run.successful,
            "attempt": end.attempt,
            "urls": end.urls,
            "texts": end.texts,
            "absent": end.absent,
            "log": run["start"].task.stdout,
            "steps": sorted(task.path_components[2] for task in tasks),
            "queues": sorted({task.metadata_dict["aws-batch-jq-name"] for task in tasks}),
            "environments": sorted({task.metadata_dict["aws-batch-ce-name"] for task in tasks}),
            "jobs": sorted(task.metadata_dict["aws-batch-job-id"] for task in tasks),
            "code": b"class EverythingFlow" in run.code.flowspec,
        }
    )
)
