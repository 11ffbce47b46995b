package cli

import (
	"maps"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// specFlags are the members of a request that have a flag, and the file that has the others.
type specFlags struct {
	file           string
	cidr, mode     string
	zones          []string
	vpc            string
	subnets        []string
	securityGroups []string
	bucket         string
	jobRole        string
	envType        string
	instanceTypes  []string
	maxVcpus       int
	minVcpus       int
	diskGiB        int
	tags, labels   map[string]string
	ttl            string
	verify         bool
}

func (f *specFlags) add(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.file, "file", "f", "", "YAML or JSON file with a spec, or with a whole request (name, spec, labels, ttl, verify); - is standard input")
	s.StringVar(&f.cidr, "cidr", "", "private IPv4 range of the VPC, such as 10.20.0.0/16")
	s.StringVar(&f.mode, "network-mode", "", "how jobs reach the internet: public")
	s.StringSliceVar(&f.zones, "zone", nil, "Availability Zone by name; give two or three")
	s.StringVar(&f.vpc, "vpc", "", "use this VPC, with --subnet and perhaps --security-group")
	s.StringSliceVar(&f.subnets, "subnet", nil, "use this subnet of the VPC")
	s.StringSliceVar(&f.securityGroups, "security-group", nil, "use this security group of the VPC")
	s.StringVar(&f.bucket, "bucket", "", "use this bucket, as BUCKET or BUCKET/PREFIX, with s3:// before it or not")
	s.StringVar(&f.jobRole, "job-role", "", "use the role of this ARN for jobs")
	s.StringVar(&f.envType, "type", "", "what the compute environment is made of, such as EC2")
	s.StringSliceVar(&f.instanceTypes, "instance-type", nil, "instance type or family of the compute environment, such as m5")
	s.IntVar(&f.maxVcpus, "max-vcpus", 0, "most vCPUs of the compute environment at a time")
	s.IntVar(&f.minVcpus, "min-vcpus", 0, "vCPUs of the compute environment kept running when idle")
	s.IntVar(&f.diskGiB, "disk-gib", 0, "root disk of each instance in GiB")
	s.StringToStringVar(&f.tags, "tag", nil, "tag put on every AWS resource, as KEY=VALUE")
	s.StringToStringVar(&f.labels, "label", nil, "label of the deployment, as KEY=VALUE")
	s.StringVar(&f.ttl, "ttl", "", "delete the deployment after this time, such as 72h or 3d")
	_ = c.MarkFlagFilename("file", "yaml", "yml", "json") // the flag is there
}

// addVerify adds the one that an update has not.
func (f *specFlags) addVerify(c *cobra.Command) {
	c.Flags().BoolVar(&f.verify, "verify", false, "prove the environment with a probe job before the create succeeds")
}

// onto puts what the flags say over what a document says.
func (f *specFlags) onto(d *document, flags *pflag.FlagSet) error {
	spec := d.spec()
	if spec == nil {
		return nil // the API says what is wrong with a spec that is no object
	}

	put := func(flag string, value any, path ...string) error {
		if !flags.Changed(flag) {
			return nil
		}

		at := d.body

		for _, name := range path[:len(path)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				if at[name] != nil {
					return misused("--%s: %s is no object in the file", flag, name)
				}

				next = map[string]any{}
				at[name] = next
			}

			at = next
		}

		name := path[len(path)-1]
		at[name] = value
		d.places["/"+strings.Join(path, "/")] = "--" + flag

		return nil
	}

	where := strings.TrimSuffix(strings.TrimPrefix(f.bucket, "s3://"), "/") // as Metaflow writes it

	bucket := map[string]any{"bucket": where}
	if name, prefix, ok := strings.Cut(where, "/"); ok {
		bucket = map[string]any{"bucket": name, "prefix": prefix}
	}

	for _, set := range []struct {
		flag  string
		value any
		path  string
	}{
		{"cidr", f.cidr, "spec/network/cidr"},
		{"network-mode", f.mode, "spec/network/mode"},
		{"zone", f.zones, "spec/network/zones"},
		{"vpc", f.vpc, "spec/network/existing/vpcId"},
		{"subnet", f.subnets, "spec/network/existing/subnetIds"},
		{"security-group", f.securityGroups, "spec/network/existing/securityGroupIds"},
		{"bucket", bucket, "spec/storage/existing"},
		{"job-role", f.jobRole, "spec/access/existing/jobRoleArn"},
		{"ttl", f.ttl, "ttl"},
		{"verify", f.verify, "verify"},
	} {
		if err := put(set.flag, set.value, strings.Split(set.path, "/")...); err != nil {
			return err
		}
	}

	if broughtNetwork(flags) { // what one of its flags leaves out is missing where the other one says it
		for member, flag := range map[string]string{"vpcId": "--vpc", "subnetIds": "--subnet"} {
			if at := "/spec/network/existing/" + member; d.places[at] == "" {
				d.places[at] = flag
			}
		}
	}

	for flag, pairs := range map[string]map[string]string{"tag": f.tags, "label": f.labels} {
		for key, value := range pairs {
			path := []string{"labels", key}
			if flag == "tag" {
				path = []string{"spec", "tags", key}
			}

			if err := put(flag, value, path...); err != nil {
				return err
			}
		}
	}

	return f.environment(d, spec, flags)
}

// broughtNetwork tells whether the flags name a network of the owner's.
func broughtNetwork(flags *pflag.FlagSet) bool {
	return flags.Changed("vpc") || flags.Changed("subnet") || flags.Changed("security-group")
}

// clear takes out of the present spec what cannot stand beside a thing that the owner brings. GET shows every default, so most of it nobody ever wrote; what
// a flag says is put in after this, and the API judges it.
func (f *specFlags) clear(d *document, flags *pflag.FlagSet) {
	spec := d.spec()
	storage, _ := spec["storage"].(map[string]any)
	network, _ := spec["network"].(map[string]any)
	compute, _ := spec["compute"].(map[string]any)

	if storage["existing"] != nil || flags.Changed("bucket") {
		delete(storage, "oldVersionsDays") // GET shows it beside a bucket that was brought before, too
	}

	if broughtNetwork(flags) {
		for _, member := range []string{"mode", "cidr", "zones"} {
			delete(network, member)
		}
	}

	if list, _ := compute["environments"].([]any); len(list) == 1 && f.envType == "UNMANAGED" {
		only, _ := list[0].(map[string]any)
		for _, member := range []string{"instanceTypes", "maxVcpus", "minVcpus", "allocationStrategy", "diskGiB"} {
			delete(only, member)
		}
	}
}

// environment puts the flags of a compute environment onto the only one there is.
func (f *specFlags) environment(d *document, spec map[string]any, flags *pflag.FlagSet) error {
	var changed []string

	members := map[string]any{}

	for _, set := range []struct {
		flag, member string
		value        any
	}{
		{"type", "type", f.envType},
		{"instance-type", "instanceTypes", f.instanceTypes},
		{"max-vcpus", "maxVcpus", f.maxVcpus},
		{"min-vcpus", "minVcpus", f.minVcpus},
		{"disk-gib", "diskGiB", f.diskGiB},
	} {
		if flags.Changed(set.flag) {
			members[set.member] = set.value
			changed = append(changed, "--"+set.flag)
			d.places["/spec/compute/environments/0/"+set.member] = "--" + set.flag
		}
	}

	if len(changed) == 0 {
		return nil
	}

	if spec["compute"] == nil {
		spec["compute"] = map[string]any{}
	}

	compute, ok := spec["compute"].(map[string]any)
	if !ok {
		return misused("%s: compute is no object in the file", changed[0])
	}

	if compute["environments"] == nil {
		compute["environments"] = []any{map[string]any{"name": "default"}}
	}

	list, ok := compute["environments"].([]any)
	if !ok || len(list) != 1 {
		return misused("%s: it is about the only compute environment, and there is not just one; say it in a file", changed[0])
	}

	only, ok := list[0].(map[string]any)
	if !ok {
		return misused("%s: the compute environment is no object in the file", changed[0])
	}

	maps.Copy(only, members)

	return nil
}

// create is the document as a request. What the spec holds is the API's to judge; the members around it have their types here.
func (d *document) create() (client.CreateRequest, error) {
	r := client.CreateRequest{}

	for name, v := range d.body {
		ok := true

		switch name {
		case "name":
			r.Name, ok = v.(string)
		case "spec":
			r.Spec = v
		case "labels":
			r.Labels, ok = texts(v)
		case "ttl":
			r.TTL, ok = v.(string)
		case "verify":
			r.Verify, ok = v.(bool)
		default:
			return r, misused("%s: there is no member %s; a request has %s", d.places.of("/"+name), name, strings.Join(request(), ", "))
		}

		if !ok && v != nil {
			return r, misused("%s: %s is not of the right type; values that look like numbers or dates need quotes to be texts", d.places.of("/"+name), name)
		}
	}

	if spec, ok := r.Spec.(map[string]any); ok && len(spec) == 0 {
		r.Spec = nil
	}

	return r, nil
}

// texts is an object whose values are all texts; nil if it is none.
func texts(v any) (map[string]string, bool) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}

	all := map[string]string{}

	for name, value := range object {
		text, isText := value.(string)
		all[name] = text
		ok = ok && isText
	}

	return all, ok
}
