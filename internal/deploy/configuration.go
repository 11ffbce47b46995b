package deploy

import (
	"fmt"
	"strings"
)

// Configuration is what Metaflow reads as its config.json to work with an active deployment: every value a string, because Metaflow takes strings for
// every key and mistakes some other JSON types. The Region is not part of it: Metaflow has no key for it.
//
// Keys: https://github.com/Netflix/metaflow/blob/master/metaflow/metaflow_config.py. It fails if the record lacks what an active deployment has.
func Configuration(d Deployment, resources []Resource) (map[string]string, error) {
	spec := d.Spec.WithDefaults()
	find := func(ref Ref) (Resource, error) {
		for _, r := range resources {
			if r.Ref == ref {
				return r, nil
			}
		}

		return Resource{}, fmt.Errorf("find resource %s of deployment %s: not in the record", ref, d.Name)
	}

	bucket, err := find("bucket")
	if err != nil {
		return nil, err
	}

	role, err := find("job-role")
	if err != nil {
		return nil, err
	}

	queue, err := find(NewRef("job-queue", spec.Compute.DefaultQueue))
	if err != nil {
		return nil, err
	}

	root := "s3://" + orElse(bucket.Outputs["name"], bucket.ID)
	if e := spec.Storage.Existing; e != nil {
		root = "s3://" + strings.TrimSuffix(e.Bucket+"/"+e.Prefix, "/")
	}

	config := map[string]string{
		"METAFLOW_DEFAULT_DATASTORE":      "s3",
		"METAFLOW_DATASTORE_SYSROOT_S3":   root + "/" + spec.Storage.FlowsPrefix,
		"METAFLOW_DATATOOLS_S3ROOT":       root + "/" + spec.Storage.DataToolsPrefix,
		"METAFLOW_DEFAULT_METADATA":       "local",
		"METAFLOW_BATCH_JOB_QUEUE":        queue.ARN,
		"METAFLOW_ECS_S3_ACCESS_IAM_ROLE": role.ARN,
	}

	for key, value := range config {
		if value == "" || strings.HasPrefix(value, "s3:///") {
			return nil, fmt.Errorf("derive %s of deployment %s: the record has no id or ARN for it", key, d.Name)
		}
	}

	return config, nil
}
