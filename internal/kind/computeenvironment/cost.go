package computeenvironment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// Cost implements kind.Planned: Batch is free, the instances that it starts are not. What minVcpus keeps running is paid for at idle; all else only while
// jobs run.
func (*ComputeEnvironment) Cost(c *kind.Call) []deploy.CostLine {
	env, _ := c.Spec.Environment(c.Ref.ID())
	free := kind.Free(c, noun, "AWS Batch and Amazon ECS are free.")

	if env.Type == deploy.Unmanaged {
		return []deploy.CostLine{free, kind.Free(c, "instances", "You bring the instances and pay for them yourself.")}
	}

	kept := keeps(env)

	return []deploy.CostLine{free, instances(c, env, kept), disks(c, env, kept), addresses(c, kept)}
}

// running is what an environment keeps running at idle.
type running struct{ instances, vcpus int }

// The sizes that instances of the default families have: from large to at least 24xlarge.
const (
	smallest = 2
	largest  = 96
)

// keeps works out what minVcpus comes to in whole instances. Batch decides how many there are; here they are as few and as large as the types allow.
func keeps(env deploy.Environment) running {
	if env.MinVcpus == 0 {
		return running{}
	}

	least, most := 0, 0

	for _, t := range env.InstanceTypes {
		small, large := smallest, largest
		if size := vcpus(t); size > 0 {
			small, large = size, size
		}

		if least == 0 || small < least {
			least = small
		}

		most = max(most, large)
	}

	least, most = cmp.Or(least, smallest), cmp.Or(most, largest)

	return running{instances: up(env.MinVcpus, most), vcpus: up(env.MinVcpus, least) * least}
}

// up divides and rounds up.
func up(a, b int) int { return (a + b - 1) / b }

// vcpus is how many an instance type has by its size, 0 for a family or a size that does not tell.
func vcpus(instanceType string) int {
	_, size, _ := strings.Cut(instanceType, ".")

	switch size {
	case "medium":
		return 1
	case "large":
		return 2
	case "xlarge":
		return 4
	}

	n, err := strconv.Atoi(strings.TrimSuffix(size, "xlarge"))
	if err != nil || !strings.HasSuffix(size, "xlarge") {
		return 0
	}

	return 4 * n
}

// family is an instance family with its price of a vCPU for an hour.
type family struct {
	name string
	deploy.Price
}

// priced lists the families that an environment may start instances of, the cheapest first, and the types that the price list does not know.
func priced(c *kind.Call, env deploy.Environment) (known []family, unknown []string) {
	wanted := env.InstanceTypes
	if len(wanted) == 0 {
		wanted = deploy.DefaultFamilies()
	}

	for _, t := range wanted {
		name, _, _ := strings.Cut(t, ".")

		p, ok := c.Price("ec2/" + name)
		if !ok {
			unknown = append(unknown, t)

			continue
		}

		if !slices.ContainsFunc(known, func(f family) bool { return f.name == name }) {
			known = append(known, family{name, p})
		}
	}

	slices.SortStableFunc(known, func(a, b family) int { return cmp.Compare(a.USD, b.USD) })

	return known, unknown
}

func instances(c *kind.Call, env deploy.Environment, kept running) deploy.CostLine {
	known, unknown := priced(c, env)

	note := fmt.Sprintf("On-Demand, by the second, while jobs run: at most %d vCPUs at a time, none at idle.", env.MaxVcpus)
	if kept.vcpus > 0 {
		note = fmt.Sprintf("On-Demand, by the second: minVcpus keeps %d vCPUs running at idle; at most %d run at a time.", kept.vcpus, env.MaxVcpus)
	}

	if len(known) == 0 {
		line := kind.Unpriced(c, "instances", note)
		if kept.vcpus == 0 {
			line.Monthly = deploy.Dollars(0)
		}

		return line
	}

	first, last := known[0], known[len(known)-1]
	note += " " + first.name + " is meant, which Batch prefers as the cheapest that fits"

	if first.USD != last.USD {
		note += fmt.Sprintf("; %s is $%g", last.name, last.USD)
	}

	note += "."

	if len(unknown) > 0 {
		note += " Not priced here: " + strings.Join(unknown, ", ") + "."
	}

	return deploy.CostLine{
		Resource: c.Ref, What: "instances", OneTime: deploy.Dollars(0), Monthly: deploy.Dollars(float64(kept.vcpus) * deploy.HoursPerMonth * first.USD),
		Price: deploy.Dollars(first.USD), Unit: first.Unit, Note: note,
	}
}

func disks(c *kind.Call, env deploy.Environment, kept running) deploy.CostLine {
	note := fmt.Sprintf("A gp3 volume of %d GiB as long as its instance runs.", env.DiskGiB)

	p, ok := c.Price("ebs/gp3")

	return perInstance(c, "disks", note, float64(env.DiskGiB)*p.USD/deploy.HoursPerMonth, ok, kept)
}

func addresses(c *kind.Call, kept running) deploy.CostLine {
	note := "A public IPv4 address as long as its instance runs."
	if c.Spec.Network.Existing != nil {
		note = "A public IPv4 address as long as its instance runs, if your subnets give any."
	}

	p, ok := c.Price("ipv4")

	return perInstance(c, "public addresses", note, p.USD, ok, kept)
}

// perInstance is what each instance costs by the hour beside itself.
func perInstance(c *kind.Call, what, note string, hourly float64, known bool, kept running) deploy.CostLine {
	if kept.instances > 0 {
		note += fmt.Sprintf(" Counted at idle: %d, which is the fewest that minVcpus needs.", kept.instances)
	}

	if !known {
		line := kind.Unpriced(c, what, note)
		if kept.instances == 0 {
			line.Monthly = deploy.Dollars(0)
		}

		return line
	}

	return deploy.CostLine{
		Resource: c.Ref, What: what, OneTime: deploy.Dollars(0), Monthly: deploy.Dollars(float64(kept.instances) * deploy.HoursPerMonth * hourly),
		Price: deploy.Dollars(hourly), Unit: "instance-hour", Note: note,
	}
}
