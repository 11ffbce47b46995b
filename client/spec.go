package client

// Spec is what the owner of a deployment wants. Everything has a default: the zero Spec is the environment of Metaflow's own guide.
type Spec struct {
	Storage    Storage           `json:"storage,omitzero"`
	Network    Network           `json:"network,omitzero"`
	Access     Access            `json:"access,omitzero"`
	Compute    Compute           `json:"compute,omitzero"`
	Scheduling Scheduling        `json:"scheduling,omitzero"`
	Metadata   Metadata          `json:"metadata,omitzero"`
	Tags       map[string]string `json:"tags,omitempty"`
}

// Storage is the bucket that Metaflow keeps its data in.
type Storage struct {
	Existing        *ExistingBucket `json:"existing,omitempty"`
	FlowsPrefix     string          `json:"flowsPrefix,omitempty"`
	DataToolsPrefix string          `json:"dataToolsPrefix,omitempty"`
	KMSKeyARN       string          `json:"kmsKeyArn,omitempty"`
	OldVersionsDays int             `json:"oldVersionsDays,omitempty"`
}

// ExistingBucket names a bucket of the owner's, and optionally a prefix that everything stays under.
type ExistingBucket struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix,omitempty"`
}

// Network is the VPC that jobs run in.
type Network struct {
	// Mode is public, private or endpoints.
	Mode     string           `json:"mode,omitempty"`
	CIDR     string           `json:"cidr,omitempty"`
	Zones    []string         `json:"zones,omitempty"`
	Existing *ExistingNetwork `json:"existing,omitempty"`
}

// ExistingNetwork names a VPC of the owner's.
type ExistingNetwork struct {
	VPCID            string   `json:"vpcId"`
	SubnetIDs        []string `json:"subnetIds"`
	SecurityGroupIDs []string `json:"securityGroupIds,omitempty"`
}

// Access is as whom jobs run, what they may read, and who develops.
type Access struct {
	Existing      *ExistingAccess `json:"existing,omitempty"`
	Developer     *Developer      `json:"developer,omitempty"`
	ReadBuckets   []string        `json:"readBuckets,omitempty"`
	SecretsPrefix string          `json:"secretsPrefix,omitempty"`
}

// ExistingAccess names a job role of the owner's.
type ExistingAccess struct {
	JobRoleARN string `json:"jobRoleArn"`
}

// Developer is the role that people who develop flows take.
type Developer struct {
	// Trust lists the ARNs of the principals that may take it.
	Trust []string `json:"trust,omitempty"`
}

// Compute is what runs the jobs.
type Compute struct {
	Environments []Environment `json:"environments,omitempty"`
	Queues       []Queue       `json:"queues,omitempty"`
	DefaultQueue string        `json:"defaultQueue,omitempty"`
}

// Environment is one Batch compute environment.
type Environment struct {
	Name string `json:"name"`
	// Type is EC2, SPOT, FARGATE, FARGATE_SPOT or UNMANAGED.
	Type               string   `json:"type,omitempty"`
	InstanceTypes      []string `json:"instanceTypes,omitempty"`
	MaxVcpus           int      `json:"maxVcpus,omitempty"`
	MinVcpus           int      `json:"minVcpus,omitempty"`
	AllocationStrategy string   `json:"allocationStrategy,omitempty"`
	DiskGiB            int      `json:"diskGiB,omitempty"`
	GPU                bool     `json:"gpu,omitempty"`
	ImageID            string   `json:"imageId,omitempty"`
}

// Queue is one Batch job queue.
type Queue struct {
	Name         string         `json:"name"`
	Priority     int            `json:"priority,omitempty"`
	Environments []string       `json:"environments,omitempty"`
	Existing     *ExistingQueue `json:"existing,omitempty"`
}

// ExistingQueue names a queue of the owner's.
type ExistingQueue struct {
	ARN string `json:"arn"`
}

// Scheduling runs flows on Step Functions.
type Scheduling struct {
	Enabled            bool   `json:"enabled,omitempty"`
	StateMachinePrefix string `json:"stateMachinePrefix,omitempty"`
}

// Metadata is Metaflow's metadata service.
type Metadata struct {
	Enabled bool `json:"enabled,omitempty"`
}
