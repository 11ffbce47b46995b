package subnet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// choose notes the zone that the subnet will be made in, if it is not noted yet: the named one, or the i-th that has what the environments ask for.
func (s *Subnet) choose(ctx context.Context, c *kind.Call) error {
	if c.Memo[memoZone] != "" {
		return nil
	}

	if named := c.Spec.Network.Zones; index(c) < len(named) {
		c.Note(memoZone, named[index(c)])

		return nil
	}

	usable, err := s.usable(ctx, c)
	if err != nil {
		return err
	}

	if index(c) >= len(usable) {
		return tooFew(usable).At(c.Pointer)
	}

	c.Note(memoZone, usable[index(c)])

	return nil
}

func tooFew(usable []string) *deploy.Error {
	return deploy.Errorf(deploy.Invalid, "too_few_zones", "Two Availability Zones are needed that offer an instance type of every compute environment; there are: %s.", list(usable)).
		WithRemedy("Allow more instance types, or use another Region.")
}

// Check implements kind.Checker: the zone is one of the Region's and offers what the environments ask for; or the existing subnet is usable.
func (s *Subnet) Check(ctx context.Context, c *kind.Call) ([]deploy.Finding, error) {
	if c.Existing != "" {
		return kind.CheckExisting(ctx, s, c, "subnet")
	}

	if index(c) >= len(c.Spec.Network.Zones) {
		// The last one speaks for all: where there is a zone for it there is one for those before it.
		if index(c) < fewest-1 {
			return nil, nil
		}

		usable, err := s.usable(ctx, c)
		if err != nil || index(c) < len(usable) {
			return nil, err
		}

		if unheard, err := s.unheardOf(ctx, c); err != nil || unheard {
			return nil, err
		}

		return []deploy.Finding{tooFew(usable).At(c.Pointer).Finding()}, nil
	}

	zone := c.Spec.Network.Zones[index(c)]

	zones, err := s.zones(ctx)
	if err != nil {
		return nil, err
	}

	if !slices.Contains(zones, zone) {
		return []deploy.Finding{deploy.Errorf(deploy.Invalid, "unknown_zone", "The account has no Availability Zone %s in %s.", zone, c.Owner.Region).
			WithRemedy("Name two or three of: %s.", list(zones)).At(c.Pointer).Finding()}, nil
	}

	usable, err := s.usable(ctx, c)
	if err != nil || slices.Contains(usable, zone) {
		return nil, err
	}

	return []deploy.Finding{deploy.Errorf(deploy.Invalid, "zone_without_instance_types", "The Availability Zone %s offers none of the instance types of a compute environment.", zone).
		WithRemedy("Allow more instance types, or name zones of: %s.", list(usable)).At(c.Pointer).Finding()}, nil
}

func list(zones []string) string {
	if len(zones) == 0 {
		return kind.None
	}

	return strings.Join(zones, ", ")
}

// zones lists the Region's Availability Zones by name, sorted. Local and Wavelength Zones, and what needs an opt-in, are left out: they lack most
// instance types and cost otherwise.
func (s *Subnet) zones(ctx context.Context) ([]string, error) {
	out, err := s.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, fmt.Errorf("list Availability Zones: %w", err)
	}

	var zones []string

	for i := range out.AvailabilityZones {
		z := &out.AvailabilityZones[i]
		plain := z.ZoneType == nil || *z.ZoneType == "availability-zone"
		open := z.OptInStatus == "" || z.OptInStatus == types.AvailabilityZoneOptInStatusOptInNotRequired

		if plain && open && z.State == types.AvailabilityZoneStateAvailable {
			zones = append(zones, aws.ToString(z.ZoneName))
		}
	}

	slices.Sort(zones)

	return zones, nil
}

// usable lists the zones that offer at least one instance type of every managed environment: one that names none gets the default families, which a zone may
// lack like any other.
func (s *Subnet) usable(ctx context.Context, c *kind.Call) ([]string, error) {
	zones, err := s.zones(ctx)
	if err != nil {
		return nil, err
	}

	var asked [][]string

	for _, e := range c.Spec.Managed() {
		wanted := e.InstanceTypes
		if len(wanted) == 0 {
			wanted = deploy.DefaultFamilies()
		}

		asked = append(asked, wanted)
	}

	if len(asked) == 0 || len(zones) == 0 {
		return zones, nil
	}

	offered, err := s.offered(ctx, types.LocationTypeAvailabilityZone, zones...)
	if err != nil {
		return nil, err
	}

	return slices.DeleteFunc(zones, func(zone string) bool {
		return slices.ContainsFunc(asked, func(wanted []string) bool { return !offersAny(offered[zone], wanted) })
	}), nil
}

// unheardOf tells whether an environment asks for nothing that the Region has at all. The environment's own check says so, and better.
func (s *Subnet) unheardOf(ctx context.Context, c *kind.Call) (bool, error) {
	offered, err := s.offered(ctx, types.LocationTypeRegion, c.Owner.Region)
	if err != nil {
		return false, err
	}

	return slices.ContainsFunc(c.Spec.Managed(), func(e deploy.Environment) bool {
		return len(e.InstanceTypes) > 0 && !offersAny(offered[c.Owner.Region], e.InstanceTypes)
	}), nil
}

// offered reads which instance types each location has: some 700 a zone, 1,000 a page.
func (s *Subnet) offered(ctx context.Context, sort types.LocationType, locations ...string) (map[string]map[string]bool, error) {
	offered := map[string]map[string]bool{}

	pages := ec2.NewDescribeInstanceTypeOfferingsPaginator(s.ec2, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: sort, Filters: []types.Filter{{Name: aws.String("location"), Values: locations}}, MaxResults: aws.Int32(1000),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the instance types of each %s: %w", sort, err)
		}

		for _, o := range page.InstanceTypeOfferings {
			zone := aws.ToString(o.Location)
			if offered[zone] == nil {
				offered[zone] = map[string]bool{}
			}

			offered[zone][string(o.InstanceType)] = true
		}
	}

	return offered, nil
}

// offersAny tells whether a zone has one of the wanted types or families. Batch's own words for "whatever fits" ("optimal", "default_x86_64",
// "default_arm64") fit every zone.
func offersAny(offered map[string]bool, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool {
		if w == "optimal" || strings.HasPrefix(w, "default_") || offered[w] {
			return true
		}

		for t := range maps.Keys(offered) {
			if strings.HasPrefix(t, w+".") {
				return true
			}
		}

		return false
	})
}
