package deploy

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Place is where the installation works: what is named as existing must be there.
type Place struct{ Partition, Account, Region string }

// Limits that are ours; AWS's are noted where they are checked.
const (
	maxLabels       = 50
	maxLabelKey     = 63
	maxLabelValue   = 63
	maxTagKey       = 128 // AWS's, for every service that we tag
	maxTagValue     = 256 // likewise
	maxPrefix       = 200 // an S3 key has 1,024 bytes; Metaflow appends flow, run, step, task and artifact
	maxQueueOrder   = 3   // Batch: "you can associate up to three compute environments with a job queue"
	shortestNetwork = 16  // AWS allows /16 to /28; below /24 there is no room for subnets worth having
	longestNetwork  = 24
)

// ValidName tells whether a text may name a deployment: 3 to 24 of [a-z0-9-], starting with a letter, ending with a letter or digit, no double hyphen.
func ValidName(name string) bool {
	return len(name) >= 3 && len(name) <= 24 && isSlug(name)
}

// reserved are the beginnings that S3 allows no bucket. https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func reserved() []string { return []string{"xn--", "sthree-", "amzn-s3-demo-"} }

// ValidTenant tells whether a text may name a tenant: as a deployment's name, but 1 to 63 characters.
func ValidTenant(tenant string) bool {
	return len(tenant) >= 1 && len(tenant) <= 63 && isSlug(tenant)
}

func isSlug(s string) bool {
	for _, c := range []byte(s) {
		if !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}

	return isLower(s[0]) && s[len(s)-1] != '-' && !strings.Contains(s, "--")
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isMade tells whether a text has 1 to most characters, all of them lower-case letters, digits or of more.
func isMade(s string, most int, more string) bool {
	for _, c := range []byte(s) {
		if !isLower(c) && !isDigit(c) && strings.IndexByte(more, c) < 0 {
			return false
		}
	}

	return s != "" && len(s) <= most
}

// Validate says everything that is wrong with a request for a deployment, as far as the request alone tells: what exists and what the account has room
// for, the kinds check afterwards. It takes the spec as the owner wrote it, before WithDefaults, because a default that was filled in cannot be told
// from a contradiction. What the struct tags of Spec say (types, enumerations, ranges) is the schema's business and not repeated here.
//
// Pointers are relative to the request's body. The order is stable: by member, in the order of the spec.
func Validate(place Place, name string, spec Spec, labels map[string]string) []Finding {
	v := &validator{place: place}

	if !ValidName(name) {
		v.refuse("/name", "invalid_name", "Choose a name like team-a.",
			"A name has 3 to 24 characters of a-z, 0-9 and -, starts with a letter, ends with a letter or digit, and has no double hyphen.")
	}

	if i := slices.IndexFunc(reserved(), func(prefix string) bool { return strings.HasPrefix(name, prefix) }); i >= 0 && spec.Storage.Existing == nil {
		v.refuse("/name", "invalid_name", "Choose a name like team-a, or bring a bucket under storage.existing.",
			"A name does not begin with %s: the bucket that is made begins as it does, and S3 keeps these names for itself.", reserved()[i])
	}

	v.storage(spec.Storage)
	v.network(spec.Network)
	v.access(spec.Access)
	v.environments(spec.Compute)
	v.queues(spec)
	v.tags(spec.Tags)
	v.labels(labels)

	return v.findings
}

type validator struct {
	place    Place
	findings []Finding
}

// refuse adds a finding. Remedy and format are sentences.
func (v *validator) refuse(pointer, code, remedy, format string, args ...any) {
	v.findings = append(v.findings, Finding{
		Level: LevelError, Class: Invalid, Code: code, Pointer: pointer, Message: clip(fmt.Sprintf(format, args...)), Remedy: clip(remedy),
	})
}

func (v *validator) storage(s Storage) {
	const at = "/spec/storage"

	if e := s.Existing; e != nil {
		v.bucket(at+"/existing/bucket", e.Bucket)

		if e.Prefix != "" {
			v.prefix(at+"/existing/prefix", e.Prefix)
		}

		if s.OldVersionsDays != 0 {
			v.refuse(at+"/oldVersionsDays", "conflicting_members", "Leave one of the two out.",
				"An existing bucket is never changed, so oldVersionsDays cannot apply to it.")
		}
	}

	if s.FlowsPrefix != "" {
		v.prefix(at+"/flowsPrefix", s.FlowsPrefix)
	}

	if s.DataToolsPrefix != "" {
		v.prefix(at+"/dataToolsPrefix", s.DataToolsPrefix)
	}

	s = Spec{Storage: s}.WithDefaults().Storage
	flows, tools := s.FlowsPrefix+"/", s.DataToolsPrefix+"/"

	if strings.HasPrefix(flows, tools) || strings.HasPrefix(tools, flows) {
		v.refuse(at+"/dataToolsPrefix", "overlapping_prefixes", "Choose two prefixes of which neither contains the other.",
			"The prefixes %q for flows and %q for data tools overlap.", s.FlowsPrefix, s.DataToolsPrefix)
	}
}

// prefix refuses whatever could lead out of the prefix when it is joined into a key, a URL, or the resource of an IAM policy, where * ? and ${} have
// meanings of their own.
func (v *validator) prefix(at, prefix string) {
	const remedy = "Write it like team-a/flows: segments of A-Z, a-z, 0-9, _ . = and -, joined by single slashes."

	if len(prefix) > maxPrefix {
		v.refuse(at, "invalid_prefix", remedy, "A prefix has at most %d characters.", maxPrefix)

		return
	}

	if strings.Contains(prefix, "://") {
		v.refuse(at, "invalid_prefix", remedy, "A prefix is a part of a key, without scheme and bucket.")

		return
	}

	for segment := range strings.SplitSeq(prefix, "/") {
		switch {
		case segment == "":
			v.refuse(at, "invalid_prefix", remedy, "A prefix neither starts nor ends with a slash and has no two in a row.")

			return
		case segment == "." || segment == "..":
			v.refuse(at, "invalid_prefix", remedy, "A prefix has no segment . or .. in it.")

			return
		case strings.ContainsFunc(segment, func(r rune) bool { return !isPlain(r) && r != '.' && r != '=' }):
			v.refuse(at, "invalid_prefix", remedy, "A prefix has only characters that mean nothing special in keys, URLs and policies.")

			return
		}
	}
}

func isPlain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func (v *validator) bucket(at, name string) {
	ok := len(name) >= 3 && len(name) <= 63 && !strings.Contains(name, "..")

	for _, c := range []byte(name) {
		ok = ok && (isLower(c) || isDigit(c) || c == '-' || c == '.')
	}

	ok = ok && name[0] != '-' && name[0] != '.' && name[len(name)-1] != '-' && name[len(name)-1] != '.'

	if _, err := netip.ParseAddr(name); err == nil {
		ok = false
	}

	for _, prefix := range reserved() {
		ok = ok && !strings.HasPrefix(name, prefix)
	}

	// Aliases of access points, directory buckets and table buckets look like buckets and are none that Metaflow can use.
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		ok = ok && !strings.HasSuffix(name, suffix)
	}

	if !ok {
		v.refuse(at, "invalid_bucket", "Give the name of a general-purpose bucket alone, without s3:// and without a prefix.",
			"This is not the name of a general-purpose S3 bucket.")
	}
}

func (v *validator) network(n Network) {
	const at = "/spec/network"

	if n.Existing != nil {
		v.existingNetwork(n)

		return
	}

	if n.CIDR != "" {
		v.cidr(at+"/cidr", n.CIDR)
	}

	if n.Zones != nil {
		v.zones(at+"/zones", n.Zones)
	}
}

func (v *validator) existingNetwork(n Network) {
	const at = "/spec/network"

	for _, member := range []struct {
		name  string
		given bool
	}{{"mode", n.Mode != ""}, {"cidr", n.CIDR != ""}, {"zones", n.Zones != nil}} {
		if member.given {
			v.refuse(at+"/"+member.name, "conflicting_members", "Leave one of the two out.",
				"An existing network is used as it is, so %s cannot apply to it.", member.name)
		}
	}

	v.id(at+"/existing/vpcId", "vpc", n.Existing.VPCID)

	if len(n.Existing.SubnetIDs) == 0 {
		v.refuse(at+"/existing/subnetIds", "invalid_id", "Name one subnet or more.", "An existing network needs subnets.")
	}

	v.ids(at+"/existing/subnetIds", "subnet", n.Existing.SubnetIDs)
	v.ids(at+"/existing/securityGroupIds", "sg", n.Existing.SecurityGroupIDs)
}

func (v *validator) ids(at, prefix string, ids []string) {
	for i, id := range ids {
		here := fmt.Sprintf("%s/%d", at, i)
		v.id(here, prefix, id)

		if slices.Contains(ids[:i], id) {
			v.refuse(here, "duplicate", "Name each once.", "%s is named twice.", id)
		}
	}
}

// id knows both lengths of EC2's ids: 8 hexadecimal digits for old resources, 17 since 2016.
func (v *validator) id(at, prefix, id string) {
	if ok, _ := regexp.MatchString("^"+prefix+"-([0-9a-f]{8}|[0-9a-f]{17})$", id); !ok {
		v.refuse(at, "invalid_id", "Copy the id from the console or from the AWS CLI.", "This is not the id of a %s: %s- and 8 or 17 hexadecimal digits.",
			map[string]string{"vpc": "VPC", "subnet": "subnet", "sg": "security group"}[prefix], prefix)
	}
}

func (v *validator) cidr(at, text string) {
	const (
		code   = "invalid_cidr"
		remedy = "Write a private IPv4 range like 10.20.0.0/16."
	)

	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		v.refuse(at, code, remedy, "This is not an IPv4 range in CIDR notation.")

		return
	}

	if p.Bits() < shortestNetwork || p.Bits() > longestNetwork {
		v.refuse(at, code, remedy, "The range is a /%d; it must be between /%d and /%d.", p.Bits(), shortestNetwork, longestNetwork)

		return
	}

	if p != p.Masked() {
		v.refuse(at, code, fmt.Sprintf("Did you mean %s?", p.Masked()), "The address has bits set beyond the prefix of %d.", p.Bits())

		return
	}

	if !p.Addr().IsPrivate() { // RFC 1918; a /16 or smaller lies in one of its ranges with its first address
		v.refuse(at, code, remedy, "The range is not private (RFC 1918), so addresses of the internet would be out of the jobs' reach.")
	}
}

func (v *validator) zones(at string, zones []string) {
	const remedy = "Name two or three zones as in us-east-1a, us-east-1b."

	if len(zones) < 2 || len(zones) > 3 {
		v.refuse(at, "invalid_zones", remedy, "A network spans two or three Availability Zones; %d are named.", len(zones))
	}

	shape := regexp.MustCompile(`^([a-z]{2}(?:-[a-z]+)+-[0-9])[a-z]$`)

	for i, zone := range zones {
		here := fmt.Sprintf("%s/%d", at, i)

		m := shape.FindStringSubmatch(zone)

		switch {
		case m == nil:
			v.refuse(here, "invalid_zones", remedy, "This is not the name of an Availability Zone.")
		case m[1] != v.place.Region:
			v.refuse(here, "wrong_region", "Name zones of "+v.place.Region+".", "The zone is in %s; this installation works in %s.", m[1], v.place.Region)
		}

		if slices.Contains(zones[:i], zone) {
			v.refuse(here, "duplicate", remedy, "The zone is named twice.")
		}
	}
}

func (v *validator) access(a Access) {
	if a.Existing == nil {
		return
	}

	const at = "/spec/access/existing/jobRoleArn"

	// https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html
	arn, ok := v.arn(at, a.Existing.JobRoleARN, "iam", "Give the ARN of a role, as in arn:aws:iam::123456789012:role/jobs.")
	if !ok {
		return
	}

	if match, _ := regexp.MatchString(`^role/([\x21-\x29\x2b-\x3e\x40-\x7e]{1,510}/)?[\w+=,.@-]{1,64}$`, arn.resource); !match || arn.region != "" {
		v.refuse(at, "invalid_arn", "Give the ARN of a role, as in arn:aws:iam::123456789012:role/jobs.", "This is not the ARN of an IAM role.")

		return
	}

	v.here(at, arn)
}

type arn struct{ partition, service, region, account, resource string }

// arn takes a text apart and checks what every ARN of a service has in common.
func (v *validator) arn(at, text, service, remedy string) (arn, bool) {
	part := strings.SplitN(text, ":", 6)
	account := regexp.MustCompile(`^[0-9]{12}$`)

	if len(part) != 6 || part[0] != "arn" || !strings.HasPrefix(part[1], "aws") || part[2] != service || !account.MatchString(part[4]) {
		v.refuse(at, "invalid_arn", remedy, "This is not an ARN of the service %s.", service)

		return arn{}, false
	}

	return arn{partition: part[1], service: part[2], region: part[3], account: part[4], resource: part[5]}, true
}

// here refuses an ARN of somewhere else.
func (v *validator) here(at string, a arn) {
	switch {
	case a.partition != v.place.Partition:
		v.refuse(at, "wrong_partition", "Name one of this installation's partition.", "The ARN is of partition %s; this installation works in %s.",
			Scrub(a.partition), v.place.Partition)
	case a.account != v.place.Account:
		v.refuse(at, "wrong_account", "Name one of this installation's account.", "The ARN is of another account than this installation works in.")
	case a.region != "" && a.region != v.place.Region:
		v.refuse(at, "wrong_region", "Name one of "+v.place.Region+".", "The ARN is of Region %s; this installation works in %s.",
			Scrub(a.region), v.place.Region)
	}
}

// validPart tells whether a text may name an environment or a queue within its deployment.
func validPart(name string) bool {
	return isMade(name, 24, "-") && isLower(name[0])
}

const partRule = "A name here has 1 to 24 characters of a-z, 0-9 and -, and starts with a letter."

func (v *validator) environments(c Compute) {
	for i, e := range c.Environments {
		at := fmt.Sprintf("/spec/compute/environments/%d", i)

		if !validPart(e.Name) {
			v.refuse(at+"/name", "invalid_name", "Choose a name like default.", partRule)
		}

		if slices.ContainsFunc(c.Environments[:i], func(o Environment) bool { return o.Name == e.Name }) {
			v.refuse(at+"/name", "duplicate", "Give each environment its own name.", "Two environments have the same name.")
		}

		if e.Type == Unmanaged {
			v.unmanaged(at, e)

			continue
		}

		for j, t := range e.InstanceTypes {
			if !isInstances(t) {
				v.refuse(fmt.Sprintf("%s/instanceTypes/%d", at, j), "invalid_instance_type", "Name a type like m5.large or a family like m5.",
					"This is neither an instance type nor a family.")
			}
		}

		if families := byArchitecture(e); len(families) > 1 {
			v.refuse(at+"/instanceTypes", "mixed_architectures", "Make one environment of each, and a queue for each of them.",
				"%s is %s and %s is %s: AWS Batch takes instance types of one processor architecture in an environment.", families[x86], x86, families[arm], arm)
		}

		if most := orElse(e.MaxVcpus, 64); e.MinVcpus > most {
			v.refuse(at+"/minVcpus", "invalid_vcpus", "Raise maxVcpus or lower minVcpus.", "minVcpus is %d, which is more than maxVcpus, %d.", e.MinVcpus, most)
		}
	}
}

// isInstances tells whether a text may be an instance family, a type, or one of Batch's own sets ("optimal", "default_x86_64").
func isInstances(s string) bool {
	family, size, typed := strings.Cut(s, ".")

	return len(family) >= 2 && isMade(family, 31, "_-") && isLower(family[0]) && (!typed || isMade(size, 20, "-"))
}

// The processor architectures, as people call them.
const (
	x86 = "x86"
	arm = "Arm"
)

// byArchitecture names, for each processor architecture among the instance types of an environment, the first family that has it. An unmanaged environment
// has none; a managed one that names no types gets families of x86.
func byArchitecture(e Environment) map[string]string {
	families := map[string]string{}
	if len(e.InstanceTypes) == 0 && e.Type != Unmanaged {
		families[x86] = "default"
	}

	for _, t := range e.InstanceTypes {
		family, _, _ := strings.Cut(t, ".")
		if a := architecture(family); a != "" && families[a] == "" {
			families[a] = family
		}
	}

	return families
}

// architecture tells the processor architecture of an instance family from its name: a g right after the generation's digit is Graviton, AWS's Arm. It is
// empty where the name does not tell, as with families of other shapes (u-6tb1, p6e-gb200), and with mac and trn.
// https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
func architecture(family string) string {
	switch family {
	case "a1", "default_arm64":
		return arm
	case "optimal", "default_x86_64":
		return x86
	}

	m := regexp.MustCompile(`^([a-z]+)[0-9]+([a-z]*)(-flex)?$`).FindStringSubmatch(family)

	switch {
	case m == nil || m[1] == "mac" || m[1] == "trn":
		return ""
	case strings.HasPrefix(m[2], "g"):
		return arm
	}

	return x86
}

func (v *validator) unmanaged(at string, e Environment) {
	for _, member := range []struct {
		name  string
		given bool
	}{
		{"instanceTypes", e.InstanceTypes != nil},
		{"maxVcpus", e.MaxVcpus != 0},
		{"minVcpus", e.MinVcpus != 0},
		{"allocationStrategy", e.AllocationStrategy != ""},
		{"diskGiB", e.DiskGiB != 0},
	} {
		if member.given {
			v.refuse(at+"/"+member.name, "conflicting_members", "Leave it out, or make the environment one of type EC2.",
				"You bring the instances of an unmanaged environment yourself, so %s cannot apply to it.", member.name)
		}
	}
}

func (v *validator) queues(spec Spec) {
	const at = "/spec/compute"

	filled := spec.WithDefaults()

	for i, q := range spec.Compute.Queues {
		here := fmt.Sprintf("%s/queues/%d", at, i)

		if !validPart(q.Name) {
			v.refuse(here+"/name", "invalid_name", "Choose a name like default.", partRule)
		}

		if slices.ContainsFunc(spec.Compute.Queues[:i], func(o Queue) bool { return o.Name == q.Name }) {
			v.refuse(here+"/name", "duplicate", "Give each queue its own name.", "Two queues have the same name.")
		}

		if q.Existing != nil {
			v.existingQueue(here, q)

			continue
		}

		v.order(here+"/environments", filled, filled.Compute.Queues[i].Environments)
	}

	if len(spec.Compute.Queues) == 0 {
		v.order(at+"/environments", filled, filled.Compute.Queues[0].Environments)
	}

	if _, ok := filled.Queue(filled.Compute.DefaultQueue); !ok {
		v.refuse(at+"/defaultQueue", "unknown_queue", "Name one of the queues of this spec.", "There is no queue of that name in this spec.")
	}
}

// order checks the environments of a queue that we make, in the order to try.
func (v *validator) order(at string, spec Spec, environments []string) {
	if len(environments) > maxQueueOrder {
		v.refuse(at, "too_many_environments", "List queues, each with at most three environments.",
			"Batch takes at most %d environments in one queue; this one has %d.", maxQueueOrder, len(environments))
	}

	if len(environments) == 0 {
		v.refuse(at, "unknown_environment", "Add an environment, or use an existing queue.", "A queue needs an environment, and this spec has none.")
	}

	architectures := map[string]bool{}

	for i, name := range environments {
		here := fmt.Sprintf("%s/%d", at, i)

		e, ok := spec.Environment(name)
		if !ok {
			v.refuse(here, "unknown_environment", "Name one of the environments of this spec.", "There is no environment of that name in this spec.")

			continue
		}

		if slices.Contains(environments[:i], name) {
			v.refuse(here, "duplicate", "Name each environment once.", "The environment is named twice.")
		}

		if i == 0 && e.Type == Unmanaged {
			v.refuse(here, "unmanaged_first", "Put an environment of type EC2 before it.",
				"An unmanaged environment cannot be the first or the only one in a queue: Metaflow reads the first one's compute resources, and it has none.")
		}

		// One that is mixed by itself is refused where it stands.
		if families := byArchitecture(e); len(families) == 1 {
			for a := range families {
				architectures[a] = true
			}
		}
	}

	if len(architectures) > 1 {
		v.refuse(at, "mixed_architectures", "List queues, each over environments of one architecture.",
			"The queue has environments of %s and of %s: AWS Batch takes one processor architecture in a queue.", x86, arm)
	}
}

func (v *validator) existingQueue(at string, q Queue) {
	for _, member := range []struct {
		name  string
		given bool
	}{{"environments", q.Environments != nil}, {"priority", q.Priority != 0}} {
		if member.given {
			v.refuse(at+"/"+member.name, "conflicting_members", "Leave one of the two out.",
				"An existing queue is used as it is, so %s cannot apply to it.", member.name)
		}
	}

	const remedy = "Give the ARN of a job queue, as in arn:aws:batch:us-east-1:123456789012:job-queue/jobs."

	a, ok := v.arn(at+"/existing/arn", q.Existing.ARN, "batch", remedy)
	if !ok {
		return
	}

	if match, _ := regexp.MatchString(`^job-queue/[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`, a.resource); !match || a.region == "" {
		v.refuse(at+"/existing/arn", "invalid_arn", remedy, "This is not the ARN of a Batch job queue.")

		return
	}

	v.here(at+"/existing/arn", a)
}

// https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html#id_tags_naming_best_practices
func (v *validator) tags(tags map[string]string) {
	const at = "/spec/tags"

	if len(tags) > MaxTags {
		v.refuse(at, "too_many_tags", "Leave some out.", "There are %d tags. AWS allows 50 on one resource, of which this service needs 8 for its own: you may set %d.",
			len(tags), MaxTags)
	}

	seen := map[string]string{}

	for _, key := range slices.Sorted(maps.Keys(tags)) {
		here, low := at+"/"+escape(key), strings.ToLower(key)

		switch {
		case strings.HasPrefix(low, "aws:") || strings.HasPrefix(low, TagPrefix):
			v.refuse(here, "reserved_tag", "Choose another key.", "Keys that start with aws: or %s are reserved.", TagPrefix)
		case key == "" || utf8.RuneCountInString(key) > maxTagKey || !taggable(key):
			v.refuse(here, "invalid_tag", "Use letters, digits, spaces and + - = . _ : / @.", "A tag's key has 1 to %d letters, digits, spaces and + - = . _ : / @.", maxTagKey)
		case seen[low] != "":
			v.refuse(here, "duplicate", "Keep one of them.", "Two tags have keys that differ in case only, which IAM takes for the same.")
		}

		seen[low] = key

		if value := tags[key]; utf8.RuneCountInString(value) > maxTagValue || !taggable(value) {
			v.refuse(here, "invalid_tag", "Use letters, digits, spaces and + - = . _ : / @.", "A tag's value has at most %d letters, digits, spaces and + - = . _ : / @.", maxTagValue)
		}
	}
}

// taggable tells whether every service that we tag takes the text: IAM's pattern is [\p{L}\p{Z}\p{N}_.:/=+\-@]*, and Batch's and EC2's are no narrower.
func taggable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r)
	})
}

func (v *validator) labels(labels map[string]string) {
	const at = "/labels"

	if len(labels) > maxLabels {
		v.refuse(at, "too_many_labels", "Leave some out.", "There are %d labels; at most %d are allowed.", len(labels), maxLabels)
	}

	for _, k := range slices.Sorted(maps.Keys(labels)) {
		here := at + "/" + escape(k)

		if !isMade(k, maxLabelKey, "_./-") {
			v.refuse(here, "invalid_label", "Use a key like team or cost.center.", "A label's key has 1 to %d characters of a-z, 0-9, _ . - and /.", maxLabelKey)
		}

		if value := labels[k]; utf8.RuneCountInString(value) > maxLabelValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			v.refuse(here, "invalid_label", "Shorten it.", "A label's value has at most %d characters and no control characters.", maxLabelValue)
		}
	}
}

// escape makes a key a segment of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
