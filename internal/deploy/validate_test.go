package deploy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

func place() deploy.Place {
	return deploy.Place{Partition: "aws", Account: "123456789012", Region: "us-east-1"}
}

// codes lists findings as "pointer code".
func codes(findings []deploy.Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, f.Pointer+" "+f.Code)
	}

	return list
}

func managed(names ...string) []deploy.Environment {
	var list []deploy.Environment
	for _, name := range names {
		list = append(list, deploy.Environment{Name: name})
	}

	return list
}

func TestValidate(t *testing.T) {
	t.Parallel()

	queue := "arn:aws:batch:us-east-1:123456789012:job-queue/jobs"
	tags := map[string]string{}
	labels := map[string]string{}

	for i := range 51 {
		tags[fmt.Sprintf("t%02d", i)], labels[fmt.Sprintf("l%02d", i)] = "x", "x"
	}

	fits := map[string]string{}
	for i := range deploy.MaxTags {
		fits[fmt.Sprintf("t%02d", i)] = "x"
	}

	tests := map[string]struct {
		reason string
		name   string // "team-a" if empty
		spec   deploy.Spec
		labels map[string]string
		want   []string
	}{
		"Empty":             {reason: "the default environment is valid"},
		"NameShort":         {reason: "3 characters at least", name: "ab", want: []string{"/name invalid_name"}},
		"NameLong":          {reason: "24 at most", name: strings.Repeat("a", 25), want: []string{"/name invalid_name"}},
		"NameLongest":       {reason: "24 are fine", name: strings.Repeat("a", 24)},
		"NameUpper":         {reason: "AWS names are lower case", name: "TeamA", want: []string{"/name invalid_name"}},
		"NameDigit":         {reason: "starts with a letter", name: "1team", want: []string{"/name invalid_name"}},
		"NameHyphen":        {reason: "ends with a letter or digit", name: "team-", want: []string{"/name invalid_name"}},
		"NameTwoHyphens":    {reason: "no double hyphen", name: "team--a", want: []string{"/name invalid_name"}},
		"NameUnicode":       {reason: "letters are ASCII", name: "tëam", want: []string{"/name invalid_name"}},
		"NameLookalike":     {reason: "a Cyrillic a is no a", name: "te\u0430m", want: []string{"/name invalid_name"}},
		"NamePath":          {reason: "no way out of a path", name: "../../x", want: []string{"/name invalid_name"}},
		"NameStates":        {reason: "no JSONPath of Step Functions", name: "$.x", want: []string{"/name invalid_name"}},
		"NameIntrinsic":     {reason: "no policy variable", name: "${aws:x}", want: []string{"/name invalid_name"}},
		"NameNewline":       {reason: "a line break at the end is no end", name: "team\n", want: []string{"/name invalid_name"}},
		"PrefixLead":        {reason: "an empty first segment", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "/flows"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixTrail":       {reason: "an empty last segment", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "flows/"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixEmpty":       {reason: "an empty segment", spec: deploy.Spec{Storage: deploy.Storage{DataToolsPrefix: "a//b"}}, want: []string{"/spec/storage/dataToolsPrefix invalid_prefix"}},
		"PrefixUp":          {reason: "leads out", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a/../b"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixScheme":      {reason: "another bucket", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "s3://b/x"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixControl":     {reason: "control characters", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a\x00b"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixWildcard":    {reason: "a wildcard in a policy's resource", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a*"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixVariable":    {reason: "a variable in a policy's resource", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "${aws:username}"}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixLong":        {reason: "200 at most", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: strings.Repeat("a", 201)}}, want: []string{"/spec/storage/flowsPrefix invalid_prefix"}},
		"PrefixDeep":        {reason: "several segments are fine", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "team=a/flows_v1.0"}}},
		"PrefixSame":        {reason: "flows and data tools must not mix", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "data-tools"}}, want: []string{"/spec/storage/dataToolsPrefix overlapping_prefixes"}},
		"PrefixInside":      {reason: "one inside the other", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a", DataToolsPrefix: "a/b"}}, want: []string{"/spec/storage/dataToolsPrefix overlapping_prefixes"}},
		"PrefixAround":      {reason: "the other inside the one", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a/b", DataToolsPrefix: "a"}}, want: []string{"/spec/storage/dataToolsPrefix overlapping_prefixes"}},
		"PrefixAlike":       {reason: "ab is not inside a", spec: deploy.Spec{Storage: deploy.Storage{FlowsPrefix: "a", DataToolsPrefix: "ab"}}},
		"BucketUpper":       {reason: "lower case only", spec: bucket("Bucket"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketAddress":     {reason: "no address", spec: bucket("10.20.30.40"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketURL":         {reason: "no scheme", spec: bucket("s3://data"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketShort":       {reason: "3 characters at least", spec: bucket("ab"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketEmpty":       {reason: "nothing is no name", spec: bucket(""), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketDirectory":   {reason: "a directory bucket", spec: bucket("data--use1-az4--x-s3"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"BucketDots":        {reason: "two dots", spec: bucket("my..data"), want: []string{"/spec/storage/existing/bucket invalid_bucket"}},
		"Bucket":            {reason: "a good one", spec: bucket("my.data-2")},
		"BucketPrefix":      {reason: "its prefix too", spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "data", Prefix: "../x"}}}, want: []string{"/spec/storage/existing/prefix invalid_prefix"}},
		"BucketVersions":    {reason: "never changed", spec: deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "data"}, OldVersionsDays: 3}}, want: []string{"/spec/storage/oldVersionsDays conflicting_members"}},
		"CIDRWord":          {reason: "no range", spec: cidr("ten"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRNoBits":        {reason: "an address", spec: cidr("10.0.0.0"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRSix":           {reason: "IPv4 only", spec: cidr("fd00::/16"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRHostBits":      {reason: "bits beyond the prefix", spec: cidr("10.20.0.1/16"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRLarge":         {reason: "AWS takes /16 at most", spec: cidr("10.0.0.0/8"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRSmall":         {reason: "no room for subnets", spec: cidr("10.0.0.0/28"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRPublic":        {reason: "addresses of the internet", spec: cidr("8.8.0.0/16"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRShared":        {reason: "RFC 6598 is not RFC 1918", spec: cidr("100.64.0.0/16"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDRBeyond":        {reason: "172.32 is public", spec: cidr("172.32.0.0/16"), want: []string{"/spec/network/cidr invalid_cidr"}},
		"CIDR":              {reason: "the smallest", spec: cidr("192.168.7.0/24")},
		"ZonesOne":          {reason: "two or three", spec: zones("us-east-1a"), want: []string{"/spec/network/zones invalid_zones"}},
		"ZonesNone":         {reason: "an empty list is not the default", spec: zones(), want: []string{"/spec/network/zones invalid_zones"}},
		"ZonesFour":         {reason: "two or three", spec: zones("us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"), want: []string{"/spec/network/zones invalid_zones"}},
		"ZonesTwice":        {reason: "different ones", spec: zones("us-east-1a", "us-east-1a"), want: []string{"/spec/network/zones/1 duplicate"}},
		"ZonesRegion":       {reason: "another Region", spec: zones("us-east-1a", "eu-west-1a"), want: []string{"/spec/network/zones/1 wrong_region"}},
		"ZonesID":           {reason: "an id is no name", spec: zones("use1-az1", "us-east-1b"), want: []string{"/spec/network/zones/0 invalid_zones"}},
		"Zones":             {reason: "good ones", spec: zones("us-east-1a", "us-east-1c")},
		"NetworkBoth":       {reason: "used as it is", spec: deploy.Spec{Network: deploy.Network{Mode: deploy.Public, CIDR: "10.0.0.0/16", Zones: []string{"us-east-1a", "us-east-1b"}, Existing: vpc("vpc-0a1b2c3d", "subnet-0a1b2c3d")}}, want: []string{"/spec/network/mode conflicting_members", "/spec/network/cidr conflicting_members", "/spec/network/zones conflicting_members"}},
		"NetworkIDs":        {reason: "ids of the right sort", spec: deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{VPCID: "vpc-xyz", SubnetIDs: []string{"sg-0a1b2c3d"}, SecurityGroupIDs: []string{"sg-0A1B2C3D"}}}}, want: []string{"/spec/network/existing/vpcId invalid_id", "/spec/network/existing/subnetIds/0 invalid_id", "/spec/network/existing/securityGroupIds/0 invalid_id"}},
		"NetworkTwice":      {reason: "each once", spec: deploy.Spec{Network: deploy.Network{Existing: vpc("vpc-0123456789abcdef0", "subnet-0a1b2c3d", "subnet-0a1b2c3d")}}, want: []string{"/spec/network/existing/subnetIds/1 duplicate"}},
		"NetworkEmpty":      {reason: "subnets are needed", spec: deploy.Spec{Network: deploy.Network{Existing: vpc("vpc-0a1b2c3d")}}, want: []string{"/spec/network/existing/subnetIds invalid_id"}},
		"Network":           {reason: "a good one", spec: deploy.Spec{Network: deploy.Network{Existing: vpc("vpc-0123456789abcdef0", "subnet-0a1b2c3d")}}},
		"RoleName":          {reason: "a name is no ARN", spec: role("jobs"), want: []string{"/spec/access/existing/jobRoleArn invalid_arn"}},
		"RoleUser":          {reason: "a user is no role", spec: role("arn:aws:iam::123456789012:user/jobs"), want: []string{"/spec/access/existing/jobRoleArn invalid_arn"}},
		"RoleWildcard":      {reason: "no pattern", spec: role("arn:aws:iam::123456789012:role/*"), want: []string{"/spec/access/existing/jobRoleArn invalid_arn"}},
		"RoleAccount":       {reason: "another account", spec: role("arn:aws:iam::999999999999:role/jobs"), want: []string{"/spec/access/existing/jobRoleArn wrong_account"}},
		"RolePartition":     {reason: "another partition", spec: role("arn:aws-cn:iam::123456789012:role/jobs"), want: []string{"/spec/access/existing/jobRoleArn wrong_partition"}},
		"Role":              {reason: "with a path", spec: role("arn:aws:iam::123456789012:role/team/a/jobs+1")},
		"EnvironmentName":   {reason: "its name goes into AWS names", spec: compute(managed("A", "1a", "a_b"), nil, ""), want: []string{"/spec/compute/environments/0/name invalid_name", "/spec/compute/environments/1/name invalid_name", "/spec/compute/environments/2/name invalid_name"}},
		"EnvironmentTwice":  {reason: "unique names", spec: compute(managed("a", "a"), []deploy.Queue{{Name: "q", Environments: []string{"a"}}}, ""), want: []string{"/spec/compute/environments/1/name duplicate"}},
		"EnvironmentVcpus":  {reason: "at least more than at most", spec: compute([]deploy.Environment{{Name: "a", MinVcpus: 9, MaxVcpus: 8}}, nil, ""), want: []string{"/spec/compute/environments/0/minVcpus invalid_vcpus"}},
		"EnvironmentMost":   {reason: "against the default of maxVcpus", spec: compute([]deploy.Environment{{Name: "a", MinVcpus: 65}}, nil, ""), want: []string{"/spec/compute/environments/0/minVcpus invalid_vcpus"}},
		"EnvironmentTypes":  {reason: "the shape of a type", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m5.large", "m7i", "optimal", "M5.large", "m5.large;x", "u-6tb1.112xlarge"}}}, nil, ""), want: []string{"/spec/compute/environments/0/instanceTypes/3 invalid_instance_type", "/spec/compute/environments/0/instanceTypes/4 invalid_instance_type"}},
		"NameReserved":      {reason: "S3 has no bucket of such a name", name: "sthree-ml", want: []string{"/name invalid_name"}},
		"NameReservedNot":   {reason: "the bucket is another", name: "sthree-ml", spec: bucket("mine-and-only-mine")},
		"TypesMixed":        {reason: "one architecture in an environment, whichever comes first", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m5", "m6g"}}, {Name: "b", InstanceTypes: []string{"c7gn.large", "optimal"}}}, []deploy.Queue{{Name: "q", Environments: []string{"a"}}, {Name: "r", Environments: []string{"b"}}}, ""), want: []string{"/spec/compute/environments/0/instanceTypes mixed_architectures", "/spec/compute/environments/1/instanceTypes mixed_architectures"}},
		"TypesArm":          {reason: "all of these are Arm", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m6g", "c7gn.large", "r8g", "t4g.small", "x2gd", "im4gn", "is4gen", "g5g", "hpc7g.4xlarge", "a1.medium", "default_arm64"}}}, nil, "")},
		"TypesX86":          {reason: "all of these are x86, some with a g elsewhere", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m5", "g4dn.xlarge", "g5", "gr6", "g6e", "p4d", "c7i-flex", "r6idn", "inf2", "m7a.large", "optimal", "default_x86_64"}}}, nil, "")},
		"TypesUntold":       {reason: "a name that does not tell mixes with everything", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m5", "u-6tb1.112xlarge", "p6e-gb200.36xlarge", "mac2.metal", "trn3", "odd"}}, {Name: "b", InstanceTypes: []string{"m6g", "u-6tb1", "p6e-gb200", "mac2", "trn3", "odd"}}}, []deploy.Queue{{Name: "q", Environments: []string{"a"}}, {Name: "r", Environments: []string{"b"}}}, "")},
		"QueueMixed":        {reason: "one architecture in a queue", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m5"}}, {Name: "b", InstanceTypes: []string{"m6g"}}}, []deploy.Queue{{Name: "p", Environments: []string{"a"}}, {Name: "q", Environments: []string{"b", "a"}}}, ""), want: []string{"/spec/compute/queues/1/environments mixed_architectures"}},
		"QueueMixedDefault": {reason: "the default types are x86, and the default queue has all environments", spec: compute([]deploy.Environment{{Name: "a"}, {Name: "b", InstanceTypes: []string{"m6g"}}}, nil, ""), want: []string{"/spec/compute/environments mixed_architectures"}},
		"QueueUntold":       {reason: "nobody knows what an unmanaged environment has", spec: compute([]deploy.Environment{{Name: "a", InstanceTypes: []string{"m6g"}}, {Name: "u", Type: deploy.Unmanaged}, {Name: "b", InstanceTypes: []string{"odd"}}}, nil, "")},
		"UnmanagedSettings": {reason: "the owner brings the instances", spec: compute([]deploy.Environment{{Name: "m"}, {Name: "u", Type: deploy.Unmanaged, InstanceTypes: []string{"m5"}, MaxVcpus: 1, MinVcpus: 1, AllocationStrategy: "BEST_FIT_PROGRESSIVE", DiskGiB: 50}}, nil, ""), want: []string{"/spec/compute/environments/1/instanceTypes conflicting_members", "/spec/compute/environments/1/maxVcpus conflicting_members", "/spec/compute/environments/1/minVcpus conflicting_members", "/spec/compute/environments/1/allocationStrategy conflicting_members", "/spec/compute/environments/1/diskGiB conflicting_members"}},
		"UnmanagedAlone":    {reason: "Metaflow reads the first one's compute resources", spec: compute([]deploy.Environment{{Name: "u", Type: deploy.Unmanaged}}, nil, ""), want: []string{"/spec/compute/environments/0 unmanaged_first"}},
		"UnmanagedFirst":    {reason: "likewise", spec: compute([]deploy.Environment{{Name: "u", Type: deploy.Unmanaged}, {Name: "m"}}, []deploy.Queue{{Name: "q", Environments: []string{"u", "m"}}}, ""), want: []string{"/spec/compute/queues/0/environments/0 unmanaged_first"}},
		"UnmanagedSecond":   {reason: "behind a managed one it is fine, and the default puts it there", spec: compute([]deploy.Environment{{Name: "u", Type: deploy.Unmanaged}, {Name: "m"}}, nil, "")},
		"QueueName":         {reason: "its name goes into AWS names", spec: compute(nil, []deploy.Queue{{Name: "-"}}, ""), want: []string{"/spec/compute/queues/0/name invalid_name"}},
		"QueueTwice":        {reason: "unique names", spec: compute(nil, []deploy.Queue{{Name: "q"}, {Name: "q"}}, ""), want: []string{"/spec/compute/queues/1/name duplicate"}},
		"QueueUnknown":      {reason: "environments of this spec", spec: compute(managed("a"), []deploy.Queue{{Name: "q", Environments: []string{"a", "b"}}}, ""), want: []string{"/spec/compute/queues/0/environments/1 unknown_environment"}},
		"QueueRepeats":      {reason: "each once", spec: compute(managed("a"), []deploy.Queue{{Name: "q", Environments: []string{"a", "a"}}}, ""), want: []string{"/spec/compute/queues/0/environments/1 duplicate"}},
		"QueueFour":         {reason: "Batch's own limit", spec: compute(managed("a", "b", "c", "d"), []deploy.Queue{{Name: "q", Environments: []string{"a", "b", "c", "d"}}}, ""), want: []string{"/spec/compute/queues/0/environments too_many_environments"}},
		"QueueFourImplied":  {reason: "the default queue takes them all", spec: compute(managed("a", "b", "c", "d"), nil, ""), want: []string{"/spec/compute/environments too_many_environments"}},
		"QueueDefault":      {reason: "the default is one of them", spec: compute(nil, []deploy.Queue{{Name: "q"}}, "other"), want: []string{"/spec/compute/defaultQueue unknown_queue"}},
		"QueueBoth":         {reason: "used as it is", spec: compute(managed("a"), []deploy.Queue{{Name: "q", Priority: 2, Environments: []string{"a"}, Existing: &deploy.ExistingQueue{ARN: queue}}}, ""), want: []string{"/spec/compute/queues/0/environments conflicting_members", "/spec/compute/queues/0/priority conflicting_members"}},
		"QueueARN":          {reason: "a name is no ARN", spec: existing("jobs"), want: []string{"/spec/compute/queues/0/existing/arn invalid_arn"}},
		"QueueService":      {reason: "an environment is no queue", spec: existing("arn:aws:batch:us-east-1:123456789012:compute-environment/x"), want: []string{"/spec/compute/queues/0/existing/arn invalid_arn"}},
		"QueueRegion":       {reason: "another Region", spec: existing(strings.Replace(queue, "us-east-1", "eu-west-1", 1)), want: []string{"/spec/compute/queues/0/existing/arn wrong_region"}},
		"QueueAccount":      {reason: "another account", spec: existing(strings.Replace(queue, "123456789012", "210987654321", 1)), want: []string{"/spec/compute/queues/0/existing/arn wrong_account"}},
		"QueueExisting":     {reason: "a good one, and no environment is made", spec: existing(queue)},
		"QueueNoneToUse":    {reason: "a made queue beside an existing one has nothing to run on", spec: compute(nil, []deploy.Queue{{Name: "e", Existing: &deploy.ExistingQueue{ARN: queue}}, {Name: "q"}}, ""), want: []string{"/spec/compute/queues/1/environments unknown_environment"}},
		"TagsMany":          {reason: "AWS allows 50 and ours take 8", spec: deploy.Spec{Tags: tags}, want: []string{"/spec/tags too_many_tags"}},
		"TagsFit":           {reason: "as many as are ours to give", spec: deploy.Spec{Tags: fits}},
		"TagsReserved":      {reason: "AWS's and ours, in any case", spec: deploy.Spec{Tags: map[string]string{"AWS:x": "", "Metaflow-Deployer:tenant": "b"}}, want: []string{"/spec/tags/AWS:x reserved_tag", "/spec/tags/Metaflow-Deployer:tenant reserved_tag"}},
		"TagsBad":           {reason: "charset and length", spec: deploy.Spec{Tags: map[string]string{"": "a", "a/b": "<", strings.Repeat("k", 129): "", "v": strings.Repeat("v", 257), "é €": "x"}}, want: []string{"/spec/tags/ invalid_tag", "/spec/tags/a~1b invalid_tag", "/spec/tags/" + strings.Repeat("k", 129) + " invalid_tag", "/spec/tags/v invalid_tag", "/spec/tags/é € invalid_tag"}},
		"TagsCase":          {reason: "IAM's keys do not know case", spec: deploy.Spec{Tags: map[string]string{"Team": "a", "team": "b"}}, want: []string{"/spec/tags/team duplicate"}},
		"TagsGood":          {reason: "letters of any script", spec: deploy.Spec{Tags: map[string]string{"Équipe 1": "données+x=y@z", "empty": ""}}},
		"LabelsMany":        {reason: "50 at most", labels: labels, want: []string{"/labels too_many_labels"}},
		"LabelsBad":         {reason: "charset and length", labels: map[string]string{"Team": "a", "": "a", strings.Repeat("k", 64): "a", "ok": strings.Repeat("v", 64), "line": "a\nb"}, want: []string{"/labels/ invalid_label", "/labels/Team invalid_label", "/labels/" + strings.Repeat("k", 64) + " invalid_label", "/labels/line invalid_label", "/labels/ok invalid_label"}},
		"Several":           {reason: "all at once, in the order of the spec", name: "X", spec: deploy.Spec{Network: deploy.Network{CIDR: "x"}, Storage: deploy.Storage{FlowsPrefix: "/"}}, want: []string{"/name invalid_name", "/spec/storage/flowsPrefix invalid_prefix", "/spec/network/cidr invalid_cidr"}},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if tc.name == "" {
				tc.name = "team-a"
			}

			if tc.want == nil {
				tc.want = []string{}
			}

			findings := deploy.Validate(place(), tc.name, tc.spec, tc.labels)
			if diff := cmp.Diff(tc.want, codes(findings)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}

			for _, f := range findings {
				if f.Class != deploy.Invalid || f.Level != deploy.LevelError || f.Message == "" || f.Remedy == "" {
					t.Errorf("not actionable: %+v", f)
				}
			}

			// What GET shows can be sent back.
			if shown := deploy.Validate(place(), tc.name, tc.spec.WithDefaults(), tc.labels); len(tc.want) == 0 && len(shown) > 0 {
				t.Errorf("%s, and with its defaults: %v", tc.reason, codes(shown))
			}
		})
	}
}

func bucket(name string) deploy.Spec {
	return deploy.Spec{Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: name}}}
}

func cidr(text string) deploy.Spec { return deploy.Spec{Network: deploy.Network{CIDR: text}} }

func zones(names ...string) deploy.Spec {
	return deploy.Spec{Network: deploy.Network{Zones: append([]string{}, names...)}}
}

func vpc(id string, subnets ...string) *deploy.ExistingNetwork {
	return &deploy.ExistingNetwork{VPCID: id, SubnetIDs: subnets}
}

func role(arn string) deploy.Spec {
	return deploy.Spec{Access: deploy.Access{Existing: &deploy.ExistingAccess{JobRoleARN: arn}}}
}

func compute(e []deploy.Environment, q []deploy.Queue, defaultQueue string) deploy.Spec {
	return deploy.Spec{Compute: deploy.Compute{Environments: e, Queues: q, DefaultQueue: defaultQueue}}
}

func existing(arn string) deploy.Spec {
	return compute(nil, []deploy.Queue{{Name: "q", Existing: &deploy.ExistingQueue{ARN: arn}}}, "")
}

// What is accepted must be accepted again with its defaults filled in, save the members that contradict an existing thing and that no default fills.
func TestValidateAcceptsItsDefaults(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		spec := deploy.Spec{
			Storage: deploy.Storage{
				FlowsPrefix:     rapid.StringMatching(`[a-z./*$-]{0,12}`).Draw(t, "flows"),
				DataToolsPrefix: rapid.StringMatching(`[a-z/]{0,6}`).Draw(t, "tools"),
			},
			Network: deploy.Network{CIDR: rapid.SampledFrom([]string{"", "10.0.0.0/16", "10.0.0.1/16", "1.0.0.0/16"}).Draw(t, "cidr")},
			Compute: deploy.Compute{
				Environments: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deploy.Environment {
					return deploy.Environment{Name: rapid.StringMatching(`[a-c]`).Draw(t, "name"), Type: rapid.SampledFrom([]deploy.EnvironmentType{"", deploy.EC2, deploy.Unmanaged}).Draw(t, "type")}
				}), 0, 4).Draw(t, "environments"),
			},
		}

		if len(deploy.Validate(place(), "team-a", spec, nil)) > 0 {
			return
		}

		filled := spec.WithDefaults()
		if f := deploy.Validate(place(), "team-a", filled, nil); len(f) > 0 {
			t.Fatalf("accepted, then refused with its defaults: %v", codes(f))
		}

		for _, prefix := range []string{filled.Storage.FlowsPrefix, filled.Storage.DataToolsPrefix} {
			if strings.Contains("/"+prefix+"/", "/../") || strings.Contains("/"+prefix+"/", "//") || strings.ContainsAny(prefix, "*$?{") {
				t.Fatalf("a prefix that escapes: %q", prefix)
			}
		}
	})
}

func TestNotOffered(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		reason, body string
		want         []string
	}{
		"Nothing":    {reason: "all of it is on offer", body: `{"name":"a","spec":{"network":{"mode":"public"},"compute":{"environments":[{"name":"a","type":"EC2","allocationStrategy":"BEST_FIT_PROGRESSIVE"}]}}}`},
		"Top":        {reason: "members of the spec", body: `{"spec":{"ui":{},"notebook":{}}}`, want: []string{"/spec/ui not_offered_yet", "/spec/notebook not_offered_yet"}},
		"Null":       {reason: "naming it is enough", body: `{"spec":{"ui":null}}`, want: []string{"/spec/ui not_offered_yet"}},
		"Off":        {reason: "a component that is switched off is still named", body: `{"spec":{"metadata":{"enabled":false},"scheduling":{},"ui":{},"notebook":{}}}`, want: []string{"/spec/scheduling not_offered_yet", "/spec/metadata not_offered_yet", "/spec/ui not_offered_yet", "/spec/notebook not_offered_yet"}},
		"Key":        {reason: "encryption with a key of one's own", body: `{"spec":{"storage":{"kmsKeyArn":"arn"}}}`, want: []string{"/spec/storage/kmsKeyArn not_offered_yet"}},
		"Modes":      {reason: "values of a member", body: `{"spec":{"network":{"mode":"private"}}}`, want: []string{"/spec/network/mode not_offered_yet"}},
		"Endpoints":  {reason: "likewise", body: `{"spec":{"network":{"mode":"endpoints"}}}`, want: []string{"/spec/network/mode not_offered_yet"}},
		"Access":     {reason: "grants", body: `{"spec":{"access":{"developer":{},"readBuckets":[],"secretsPrefix":"x"}}}`, want: []string{"/spec/access/developer not_offered_yet", "/spec/access/readBuckets not_offered_yet", "/spec/access/secretsPrefix not_offered_yet"}},
		"Items":      {reason: "items of an array, each by its index", body: `{"spec":{"compute":{"environments":[{"type":"EC2"},{"type":"SPOT","gpu":1},{"type":"FARGATE"},{"type":"FARGATE_SPOT","imageId":"ami"}]}}}`, want: []string{"/spec/compute/environments/1/type not_offered_yet", "/spec/compute/environments/2/type not_offered_yet", "/spec/compute/environments/3/type not_offered_yet", "/spec/compute/environments/1/gpu not_offered_yet", "/spec/compute/environments/3/imageId not_offered_yet"}},
		"BestFit":    {reason: "never: it cannot be updated in place", body: `{"spec":{"compute":{"environments":[{"allocationStrategy":"BEST_FIT"}]}}}`, want: []string{"/spec/compute/environments/0/allocationStrategy not_offered"}},
		"SpotFit":    {reason: "comes with SPOT", body: `{"spec":{"compute":{"environments":[{"allocationStrategy":"SPOT_CAPACITY_OPTIMIZED"}]}}}`, want: []string{"/spec/compute/environments/0/allocationStrategy not_offered_yet"}},
		"WrongShape": {reason: "what has another shape is the schema's business", body: `{"spec":{"compute":{"environments":{"type":"SPOT"}},"network":{"mode":["private"]}}}`},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var body any
			if err := json.Unmarshal([]byte(tc.body), &body); err != nil {
				t.Fatal(err)
			}

			if tc.want == nil {
				tc.want = []string{}
			}

			findings := deploy.NotOffered(body)
			if diff := cmp.Diff(tc.want, codes(findings)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}

			for _, f := range findings {
				if f.Code == deploy.CodeNotOfferedYet && !strings.Contains(f.Message, "not offered yet") || f.Remedy == "" {
					t.Errorf("not actionable: %+v", f)
				}
			}
		})
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()

	made := []deploy.Resource{
		{Ref: "bucket", ID: "team-a-x-metaflow", Outputs: map[string]string{"name": "team-a-x-metaflow"}},
		{Ref: "job-role", ARN: "arn:aws:iam::123456789012:role/p/team-a-x-job"},
		{Ref: "job-queue/default", ARN: "arn:aws:batch:us-east-1:123456789012:job-queue/team-a-x-default"},
		{Ref: "job-queue/other", ARN: "arn:aws:batch:us-east-1:123456789012:job-queue/team-a-x-other"},
	}

	tests := map[string]struct {
		reason    string
		spec      deploy.Spec
		resources []deploy.Resource
		want      map[string]string
		err       string
	}{
		"Made": {
			reason: "the default environment", resources: made,
			want: map[string]string{
				"METAFLOW_DEFAULT_DATASTORE": "s3", "METAFLOW_DEFAULT_METADATA": "local",
				"METAFLOW_DATASTORE_SYSROOT_S3":   "s3://team-a-x-metaflow/flows",
				"METAFLOW_DATATOOLS_S3ROOT":       "s3://team-a-x-metaflow/data-tools",
				"METAFLOW_BATCH_JOB_QUEUE":        "arn:aws:batch:us-east-1:123456789012:job-queue/team-a-x-default",
				"METAFLOW_ECS_S3_ACCESS_IAM_ROLE": "arn:aws:iam::123456789012:role/p/team-a-x-job",
			},
		},
		"Existing": {
			reason: "the owner's bucket with a prefix, the owner's default queue", resources: made,
			spec: deploy.Spec{
				Storage: deploy.Storage{Existing: &deploy.ExistingBucket{Bucket: "lake", Prefix: "teams/a"}, FlowsPrefix: "f"},
				Compute: deploy.Compute{Queues: []deploy.Queue{{Name: "default"}, {Name: "other"}}, DefaultQueue: "other"},
			},
			want: map[string]string{
				"METAFLOW_DEFAULT_DATASTORE": "s3", "METAFLOW_DEFAULT_METADATA": "local",
				"METAFLOW_DATASTORE_SYSROOT_S3":   "s3://lake/teams/a/f",
				"METAFLOW_DATATOOLS_S3ROOT":       "s3://lake/teams/a/data-tools",
				"METAFLOW_BATCH_JOB_QUEUE":        "arn:aws:batch:us-east-1:123456789012:job-queue/team-a-x-other",
				"METAFLOW_ECS_S3_ACCESS_IAM_ROLE": "arn:aws:iam::123456789012:role/p/team-a-x-job",
			},
		},
		"NoQueue": {reason: "a record without a queue is no active deployment's", resources: made[:2], err: "find resource job-queue/default"},
		"NoARN": {
			reason: "an empty value would make Metaflow take another default", err: "derive METAFLOW_ECS_S3_ACCESS_IAM_ROLE",
			resources: []deploy.Resource{made[0], {Ref: "job-role"}, made[2]},
		},
		"NoBucket": {
			reason: "likewise", err: "of deployment team-a",
			resources: []deploy.Resource{{Ref: "bucket"}, made[1], made[2]},
		},
	}

	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := deploy.Configuration(deploy.Deployment{Key: deploy.Key{Tenant: "t", Name: "team-a"}, Spec: tc.spec}, tc.resources)
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("%s: error %v, want %q", tc.reason, err, tc.err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
