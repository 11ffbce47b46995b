package deploy

import "slices"

// Spec is what the owner wants. The zero Spec, with its defaults filled in, is Metaflow's default environment: a bucket, a public network, a job role,
// one managed EC2 compute environment that scales to zero, and one job queue.
//
// Members that are not offered yet do not stand here; NotOffered lists them so that they are refused by name and never ignored.
type Spec struct {
	Storage Storage           `json:"storage,omitzero" doc:"Where flows keep their data"`
	Network Network           `json:"network,omitzero" doc:"Where jobs run"`
	Access  Access            `json:"access,omitzero" doc:"As whom jobs run"`
	Compute Compute           `json:"compute,omitzero" doc:"What runs the jobs"`
	Tags    map[string]string `json:"tags,omitempty" doc:"Tags put on every AWS resource"`
}

// Storage is the bucket that Metaflow keeps its data in.
type Storage struct {
	Existing        *ExistingBucket `json:"existing,omitempty" doc:"Use a bucket that is there already"`
	FlowsPrefix     string          `json:"flowsPrefix,omitempty" default:"flows" doc:"Key prefix of Metaflow's data (METAFLOW_DATASTORE_SYSROOT_S3)"`
	DataToolsPrefix string          `json:"dataToolsPrefix,omitempty" default:"data-tools" doc:"Key prefix of metaflow.S3 (METAFLOW_DATATOOLS_S3ROOT)"`
	OldVersionsDays int             `json:"oldVersionsDays,omitempty" default:"30" minimum:"1" maximum:"3650" doc:"Days until overwritten or deleted objects are gone for good"`
}

// ExistingBucket names a bucket of the owner's, and optionally a prefix that everything stays under.
type ExistingBucket struct {
	Bucket string `json:"bucket" doc:"Name of the bucket"`
	Prefix string `json:"prefix,omitempty" doc:"Key prefix that everything of this deployment stays under"`
}

// NetworkMode is how jobs reach the internet.
type NetworkMode string

// Public is the mode on offer: public subnets with an internet gateway.
const Public NetworkMode = "public"

// Network is the VPC that jobs run in.
type Network struct {
	Mode     NetworkMode      `json:"mode,omitempty" enum:"public" default:"public" doc:"How jobs reach the internet"`
	CIDR     string           `json:"cidr,omitempty" default:"10.20.0.0/16" doc:"Private IPv4 range of the VPC, /16 to /24"`
	Zones    []string         `json:"zones,omitempty" doc:"Two or three Availability Zones by name; by default the first two that offer the instance types"`
	Existing *ExistingNetwork `json:"existing,omitempty" doc:"Use a network that is there already"`
}

// ExistingNetwork names a VPC of the owner's. Without security groups, one without ingress is made in it.
type ExistingNetwork struct {
	VPCID            string   `json:"vpcId" doc:"Id of the VPC"`
	SubnetIDs        []string `json:"subnetIds" minItems:"1" maxItems:"16" doc:"Ids of subnets of that VPC with a way to S3, ECS and the image registry"`
	SecurityGroupIDs []string `json:"securityGroupIds,omitempty" maxItems:"5" doc:"Ids of security groups of that VPC"`
}

// Access is the identity of the jobs.
type Access struct {
	Existing *ExistingAccess `json:"existing,omitempty" doc:"Use a job role that is there already"`
}

// ExistingAccess names a job role of the owner's.
type ExistingAccess struct {
	JobRoleARN string `json:"jobRoleArn" doc:"ARN of a role that ecs-tasks.amazonaws.com may assume"`
}

// Compute is what runs the jobs.
type Compute struct {
	Environments []Environment `json:"environments,omitempty" maxItems:"10" doc:"Batch compute environments"`
	Queues       []Queue       `json:"queues,omitempty" maxItems:"10" doc:"Batch job queues"`
	DefaultQueue string        `json:"defaultQueue,omitempty" doc:"The queue that Metaflow uses; by default the first"`
}

// EnvironmentType is what a compute environment is made of.
type EnvironmentType string

// The types on offer.
const (
	EC2       EnvironmentType = "EC2"
	Unmanaged EnvironmentType = "UNMANAGED"
)

// BestFitProgressive is the allocation strategy on offer. AWS's own default, BEST_FIT, is not: an environment made with it can never be updated in
// place.
const BestFitProgressive = "BEST_FIT_PROGRESSIVE"

// Environment is one Batch compute environment. UNMANAGED takes a name and a type only: the owner brings the instances.
type Environment struct {
	Name               string          `json:"name" doc:"Name within the deployment"`
	Type               EnvironmentType `json:"type,omitempty" enum:"EC2,UNMANAGED" default:"EC2" doc:"EC2: Batch starts and stops instances. UNMANAGED: you bring them"`
	InstanceTypes      []string        `json:"instanceTypes,omitempty" maxItems:"50" doc:"Instance types or families that Batch may start; by default current general-purpose ones that the Region offers"`
	MaxVcpus           int             `json:"maxVcpus,omitempty" default:"64" minimum:"1" maximum:"10000" doc:"Most vCPUs at a time"`
	MinVcpus           int             `json:"minVcpus,omitempty" default:"0" minimum:"0" maximum:"10000" doc:"vCPUs kept running when idle"`
	AllocationStrategy string          `json:"allocationStrategy,omitempty" enum:"BEST_FIT_PROGRESSIVE" default:"BEST_FIT_PROGRESSIVE" doc:"How Batch picks among the instance types"`
	DiskGiB            int             `json:"diskGiB,omitempty" default:"100" minimum:"30" maximum:"16384" doc:"Encrypted root disk of each instance in GiB"`
}

// Queue is one Batch job queue, made by us over environments of this spec or existing.
type Queue struct {
	Name         string         `json:"name" doc:"Name within the deployment"`
	Priority     int            `json:"priority,omitempty" default:"1" minimum:"1" maximum:"1000" doc:"Higher goes first where queues share an environment"`
	Environments []string       `json:"environments,omitempty" maxItems:"3" doc:"Names of compute environments in the order to try"`
	Existing     *ExistingQueue `json:"existing,omitempty" doc:"Use a queue that is there already"`
}

// ExistingQueue names a queue of the owner's.
type ExistingQueue struct {
	ARN string `json:"arn" doc:"ARN of the job queue"`
}

// DefaultName is the name of the environment and the queue that an empty spec gets.
const DefaultName = "default"

// WithDefaults returns the spec with every default filled in. It is idempotent and shares no memory with its receiver's slices.
func (s Spec) WithDefaults() Spec {
	s.Storage.FlowsPrefix = orElse(s.Storage.FlowsPrefix, "flows")
	s.Storage.DataToolsPrefix = orElse(s.Storage.DataToolsPrefix, "data-tools")

	if s.Storage.Existing == nil {
		s.Storage.OldVersionsDays = orElse(s.Storage.OldVersionsDays, 30)
	}

	if s.Network.Existing == nil {
		s.Network.Mode = orElse(s.Network.Mode, Public)
		s.Network.CIDR = orElse(s.Network.CIDR, "10.20.0.0/16")
	}

	// A spec that brings its own queue and names no environment wants none.
	brought := slices.ContainsFunc(s.Compute.Queues, func(q Queue) bool { return q.Existing != nil })
	if len(s.Compute.Environments) == 0 && !brought {
		s.Compute.Environments = []Environment{{Name: DefaultName}}
	}

	s.Compute.Environments = slices.Clone(s.Compute.Environments)
	for i := range s.Compute.Environments {
		e := &s.Compute.Environments[i]
		e.Type = orElse(e.Type, EC2)

		if e.Type == Unmanaged {
			continue
		}

		e.MaxVcpus = orElse(e.MaxVcpus, 64)
		e.AllocationStrategy = orElse(e.AllocationStrategy, BestFitProgressive)
		e.DiskGiB = orElse(e.DiskGiB, 100)
	}

	if len(s.Compute.Queues) == 0 {
		s.Compute.Queues = []Queue{{Name: DefaultName, Environments: names(s.Compute.Environments)}}
	}

	s.Compute.Queues = slices.Clone(s.Compute.Queues)
	for i := range s.Compute.Queues {
		q := &s.Compute.Queues[i]
		if q.Existing != nil {
			continue
		}

		q.Priority = orElse(q.Priority, 1)
		if len(q.Environments) == 0 {
			q.Environments = names(s.Compute.Environments)
		}
	}

	s.Compute.DefaultQueue = orElse(s.Compute.DefaultQueue, s.Compute.Queues[0].Name)

	return s
}

// DefaultFamilies are what a managed environment that names no instance types may start, as far as the Region offers them: current x86 general-purpose, compute
// and memory families with sizes from 2 to at least 96 vCPUs, a choice for Batch to find the cheapest that fits a job in. Not "optimal": what it stands for
// changes (Batch user guide, "Optimal instance type configuration").
func DefaultFamilies() []string {
	return []string{"m5", "m6i", "m7i", "c5", "c6i", "c7i", "r5", "r6i", "r7i"}
}

// Environment finds a compute environment by name.
func (s Spec) Environment(name string) (Environment, bool) {
	i := slices.IndexFunc(s.Compute.Environments, func(e Environment) bool { return e.Name == name })
	if i < 0 {
		return Environment{}, false
	}

	return s.Compute.Environments[i], true
}

// Queue finds a queue by name.
func (s Spec) Queue(name string) (Queue, bool) {
	i := slices.IndexFunc(s.Compute.Queues, func(q Queue) bool { return q.Name == name })
	if i < 0 {
		return Queue{}, false
	}

	return s.Compute.Queues[i], true
}

// Managed lists the environments whose instances Batch starts: what needs a network, an instance role and launch templates.
func (s Spec) Managed() []Environment {
	return slices.DeleteFunc(slices.Clone(s.Compute.Environments), func(e Environment) bool { return e.Type == Unmanaged })
}

// names lists environments, managed ones first: Metaflow reads the first environment of a queue.
func names(envs []Environment) []string {
	var first, last []string

	for _, e := range envs {
		if e.Type == Unmanaged {
			last = append(last, e.Name)

			continue
		}

		first = append(first, e.Name)
	}

	return append(first, last...)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}

	return v
}
