package awsfake

import (
	"maps"
	"slices"
)

// Inventory lists everything that is there, by service and id, with its tags. What AWS puts into every VPC by itself (the main route table, the default
// group) comes and goes with the VPC and is left out; so are network interfaces, which belong to whoever runs in them.
func (w *World) Inventory() map[string]map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.Batch.settle()

	all := map[string]map[string]string{}

	for name, b := range w.S3.buckets {
		all["s3 "+name] = maps.Clone(b.tags)
	}

	for name, r := range w.IAM.roles {
		all["iam role"+r.path+name] = maps.Clone(r.tags)
	}

	for name, p := range w.IAM.profiles {
		all["iam instance-profile"+p.path+name] = maps.Clone(p.tags)
	}

	for name, e := range w.Batch.environments {
		if e.Status != "DELETED" {
			all["batch environment "+name] = maps.Clone(e.Tags)
		}
	}

	for name, q := range w.Batch.queues {
		if q.Status != "DELETED" {
			all["batch queue "+name] = maps.Clone(q.Tags)
		}
	}

	for _, d := range w.Batch.definitions {
		if *d.Status == "ACTIVE" {
			all["batch definition "+*d.JobDefinitionArn] = maps.Clone(d.Tags)
		}
	}

	for id, v := range w.EC2.vpcs {
		all["ec2 "+id] = maps.Clone(v.tags)
	}

	for id, v := range w.EC2.gateways {
		all["ec2 "+id] = maps.Clone(v.tags)
	}

	for id, v := range w.EC2.tables {
		if !v.main {
			all["ec2 "+id] = maps.Clone(v.tags)
		}
	}

	for id, v := range w.EC2.subnets {
		all["ec2 "+id] = maps.Clone(v.tags)
	}

	for id, v := range w.EC2.endpoints {
		if v.deleted.IsZero() {
			all["ec2 "+id] = maps.Clone(v.tags)
		}
	}

	for id, v := range w.EC2.groups {
		if v.name != "default" {
			all["ec2 "+id] = maps.Clone(v.tags)
		}
	}

	for id, v := range w.EC2.templates {
		all["ec2 "+id] = maps.Clone(v.tags)
	}

	return all
}

// Forget drops the list of calls: a long simulation need not keep it.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.calls = slices.Clip(w.calls[:0])
}
