// Package subnet makes the public subnets of a deployment, one in each of its Availability Zones, and puts them on its route table.
//
// CreateSubnet has neither a client token nor a unique name, so a subnet is searched by tag before it is created (kind.Once). Its zone is chosen once and
// noted before the create, because the list of zones may change between two attempts.
package subnet

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2eni"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/ec2tag"
)

// api is what this kind calls.
type api interface {
	CreateSubnet(ctx context.Context, in *ec2.CreateSubnetInput, opts ...func(*ec2.Options)) (*ec2.CreateSubnetOutput, error)
	DescribeSubnets(ctx context.Context, in *ec2.DescribeSubnetsInput, opts ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error)
	ModifySubnetAttribute(ctx context.Context, in *ec2.ModifySubnetAttributeInput, opts ...func(*ec2.Options)) (*ec2.ModifySubnetAttributeOutput, error)
	DeleteSubnet(ctx context.Context, in *ec2.DeleteSubnetInput, opts ...func(*ec2.Options)) (*ec2.DeleteSubnetOutput, error)
	DescribeRouteTables(ctx context.Context, in *ec2.DescribeRouteTablesInput, opts ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error)
	AssociateRouteTable(ctx context.Context, in *ec2.AssociateRouteTableInput, opts ...func(*ec2.Options)) (*ec2.AssociateRouteTableOutput, error)
	ReplaceRouteTableAssociation(ctx context.Context, in *ec2.ReplaceRouteTableAssociationInput, opts ...func(*ec2.Options)) (*ec2.ReplaceRouteTableAssociationOutput, error)
	DisassociateRouteTable(ctx context.Context, in *ec2.DisassociateRouteTableInput, opts ...func(*ec2.Options)) (*ec2.DisassociateRouteTableOutput, error)
	DescribeAvailabilityZones(ctx context.Context, in *ec2.DescribeAvailabilityZonesInput, opts ...func(*ec2.Options)) (*ec2.DescribeAvailabilityZonesOutput, error)
	DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput, opts ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error)
	ec2eni.API
	ec2tag.API
}

// Subnet is the kind.
type Subnet struct{ ec2 api }

// New takes the EC2 client.
func New(client api) *Subnet { return &Subnet{ec2: client} }

const (
	name = "subnet"
	// fewest is how many subnets we make when no zones are named: with one, a zone without capacity stops all jobs.
	fewest = 2
	// memoZone is the zone that was chosen.
	memoZone = "zone"
)

// The properties that Observe compares.
const (
	propVPC        = "vpcId"
	propZone       = "availabilityZone"
	propCIDR       = "cidr"
	propPublicIP   = "mapPublicIpOnLaunch"
	propRouteTable = "routeTable"
)

// About implements kind.Kind.
func (*Subnet) About() kind.About {
	return kind.About{
		Name: name, Family: "ec2", Component: "network", Settings: deploy.Network{}, Many: true, Needs: []string{"vpc", "route-table"},
		Doc:      "A part of the network in one Availability Zone, where instances get a public address.",
		Ensuring: kind.Timing{Typical: 5 * time.Second, Deadline: 5 * time.Minute},
		// Network interfaces of a compute environment linger for up to 45 minutes after it is gone, and hold the subnet.
		Removing: kind.Timing{Typical: 3 * time.Second, Deadline: time.Hour},
	}
}

// Plan asks for a subnet in each named zone, or in two; or for those that exist.
func (*Subnet) Plan(spec deploy.Spec) []kind.Item {
	if len(spec.Managed()) == 0 {
		return nil
	}

	var items []kind.Item

	if e := spec.Network.Existing; e != nil {
		for i, subnet := range e.SubnetIDs {
			items = append(items, kind.Item{
				Ref: ref(i), Needs: []deploy.Ref{"vpc"}, Existing: subnet, Pointer: "/spec/network/existing/subnetIds/" + strconv.Itoa(i),
			})
		}

		return items
	}

	for i := range max(fewest, len(spec.Network.Zones)) {
		item := kind.Item{Ref: ref(i), Needs: []deploy.Ref{"vpc", "route-table"}, Pointer: "/spec/network"}
		fixed := struct{ Zone, CIDR string }{CIDR: quarter(spec.Network.CIDR, i)}

		if i < len(spec.Network.Zones) {
			fixed.Zone, item.Pointer = spec.Network.Zones[i], "/spec/network/zones/"+strconv.Itoa(i)
		}

		item.Fixed = fixed
		items = append(items, item)
	}

	return items
}

// Refs are numbered from 1, as people do.
func ref(i int) deploy.Ref { return deploy.NewRef(name, strconv.Itoa(i+1)) }

// index is the place of the subnet in the list of zones.
func index(c *kind.Call) int {
	n, err := strconv.Atoi(c.Ref.ID())
	if err != nil || n < 1 {
		panic("a subnet's ref is not a number: " + string(c.Ref)) // a wiring mistake: Plan numbers them
	}

	return n - 1
}

// quarter is the i-th quarter of a VPC's range: room for three zones and one to spare. Empty for what is not an IPv4 range, which the validation of the
// spec refuses.
func quarter(cidr string, i int) string {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() > 30 {
		return ""
	}

	bytes := prefix.Masked().Addr().As4()
	bits := prefix.Bits() + 2

	// The two bits after the VPC's prefix number the quarter; they may straddle two bytes.
	for k := range 2 {
		if i>>(1-k)&1 == 1 {
			bit := prefix.Bits() + k
			bytes[bit/8] |= 1 << (7 - bit%8)
		}
	}

	return netip.PrefixFrom(netip.AddrFrom4(bytes), bits).String()
}

// Ensure implements kind.Kind.
func (s *Subnet) Ensure(ctx context.Context, c *kind.Call) (kind.Result, error) {
	var (
		found *types.Subnet
		made  bool
	)

	id, err := kind.Once(ctx, c, func(ctx context.Context) (string, error) {
		var err error
		if found, err = s.find(ctx, c); err != nil || found != nil {
			return id(found), err
		}

		return "", s.choose(ctx, c)
	}, func(ctx context.Context) (string, error) {
		out, err := s.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: aws.String(c.One("vpc").ID), CidrBlock: aws.String(quarter(c.Spec.Network.CIDR, index(c))), AvailabilityZone: aws.String(c.Memo[memoZone]),
			TagSpecifications: ec2tag.Spec(types.ResourceTypeSubnet, c.Tags()),
		}, ec2tag.OneAttempt)
		if err != nil {
			return "", fmt.Errorf("create subnet: %w", err)
		}

		found, made = out.Subnet, true

		return id(found), nil
	})
	if err = awserr.IgnoreGone(err); err != nil { // "not found" is the VPC, which is not visible everywhere yet
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{ID: id, Waiting: "to see the subnet"}, nil
	}

	obs, association, err := s.look(ctx, c, found, made)
	if err != nil || obs.State != kind.Ready {
		return kind.Result{ID: id, Waiting: "pending"}, err
	}

	result := kind.Result{Done: true, ID: id, ARN: obs.ARN, Outputs: obs.Outputs, Waiting: "public addresses and route table"}

	for _, d := range obs.Differences {
		mended, err := s.mend(ctx, c, id, association, d)
		if err != nil {
			return kind.Result{ID: id, Waiting: d.Property}, err
		}

		result.Done = result.Done && mended
	}

	return result, nil
}

// mend puts one property right, and tells whether EC2 has done so; what it does not see yet is left to the next look.
func (s *Subnet) mend(ctx context.Context, c *kind.Call, id string, association *types.RouteTableAssociation, d kind.Difference) (bool, error) {
	switch d.Property {
	case propPublicIP:
		_, err := s.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{
			SubnetId: aws.String(id), MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)},
		})
		if awserr.IgnoreGone(err) != nil {
			return false, fmt.Errorf("give instances in subnet %s a public address: %w", id, err)
		}

		return err == nil, nil
	case propRouteTable:
		return s.associate(ctx, c, id, association)
	case kind.PropertyTags:
		return ec2tag.Mend(ctx, s.ec2, c, id)
	default:
		return false, c.Immutable("subnet", id, d)
	}
}

// associate puts the subnet on our route table. An association that we do not see yet is refused as a second one; the next look tells.
func (s *Subnet) associate(ctx context.Context, c *kind.Call, id string, association *types.RouteTableAssociation) (bool, error) {
	table := aws.String(c.One("route-table").ID)

	if association != nil {
		out, err := s.ec2.ReplaceRouteTableAssociation(ctx, &ec2.ReplaceRouteTableAssociationInput{
			AssociationId: association.RouteTableAssociationId, RouteTableId: table,
		})
		if awserr.IgnoreGone(err) != nil {
			return false, fmt.Errorf("replace route table of subnet %s: %w", id, err)
		}

		return err == nil && settled(out.AssociationState), nil
	}

	out, err := s.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: aws.String(id)})
	if awserr.IgnoreGone(err) != nil && awserr.Code(err) != "Resource.AlreadyAssociated" {
		return false, fmt.Errorf("associate route table with subnet %s: %w", id, err)
	}

	return err == nil && settled(out.AssociationState), nil
}

// settled: an association may take EC2 a while. API reference, RouteTableAssociationState.
func settled(state *types.RouteTableAssociationState) bool {
	return state == nil || state.State == types.RouteTableAssociationStateCodeAssociated
}

// Remove implements kind.Kind. The table is let go first, so that it can be removed even if the end of the subnet is still to be seen.
func (s *Subnet) Remove(ctx context.Context, c *kind.Call) (kind.Result, error) {
	found, err := s.find(ctx, c)
	if err != nil {
		return kind.Result{}, err
	}

	if found == nil {
		return kind.Result{Done: !c.Unsure(), Waiting: "to be sure that no subnet was made"}, nil
	}

	association, _, err := s.association(ctx, id(found))
	if err != nil {
		return kind.Result{ID: id(found)}, err
	}

	if association != nil {
		_, err := s.ec2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: association.RouteTableAssociationId})
		if err = awserr.IgnoreGone(err); err != nil {
			return kind.Result{ID: id(found)}, fmt.Errorf("disassociate route table from subnet %s: %w", id(found), err)
		}
	}

	_, err = s.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: found.SubnetId})
	if awserr.Is(err, deploy.NotReady) {
		holding, listErr := ec2eni.Holding(ctx, s.ec2, "subnet-id", id(found))
		if listErr == nil && holding != "" {
			return kind.Result{ID: id(found), Waiting: holding}, nil
		}
	}

	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete subnet %s: %w", id(found), err)
	}

	c.Removed()

	return kind.Result{ID: id(found), Waiting: "deleting"}, nil
}

// Observe implements kind.Kind.
func (s *Subnet) Observe(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	if c.Existing != "" {
		return s.existing(ctx, c)
	}

	found, err := s.find(ctx, c)
	if err != nil || found == nil {
		return kind.Observation{State: kind.Absent}, err
	}

	obs, _, err := s.look(ctx, c, found, false)

	return obs, err
}

// look compares a subnet of ours with what is wanted, and returns its association with a route table, if it has one of its own. One that was made a moment
// ago follows the VPC's main table: nobody need be asked.
func (s *Subnet) look(ctx context.Context, c *kind.Call, found *types.Subnet, made bool) (kind.Observation, *types.RouteTableAssociation, error) {
	obs := seen(c, found)
	if obs.State != kind.Ready {
		return obs, nil, nil
	}

	var (
		association *types.RouteTableAssociation
		table       string
	)

	if !made {
		var err error
		if association, table, err = s.association(ctx, id(found)); err != nil {
			return obs, nil, err
		}
	}

	if association != nil && !settled(association.AssociationState) {
		obs.State = kind.InProgress

		return obs, association, nil
	}

	zone := aws.ToString(found.AvailabilityZone)
	if zones := c.Spec.Network.Zones; index(c) < len(zones) {
		zone = zones[index(c)]
	}

	obs.Differences = kind.Differing(
		kind.Difference{Property: propVPC, Want: c.One("vpc").ID, Have: aws.ToString(found.VpcId)},
		kind.Difference{Property: propZone, Want: zone, Have: aws.ToString(found.AvailabilityZone)},
		kind.Difference{Property: propCIDR, Want: quarter(c.Spec.Network.CIDR, index(c)), Have: aws.ToString(found.CidrBlock)},
		kind.Difference{Property: propPublicIP, Want: "true", Have: strconv.FormatBool(aws.ToBool(found.MapPublicIpOnLaunch))},
		kind.Difference{Property: propRouteTable, Want: c.One("route-table").ID, Have: table},
		ec2tag.Differ(c, found.Tags),
	)

	return obs, association, nil
}

// existing looks at a subnet that the owner named.
func (s *Subnet) existing(ctx context.Context, c *kind.Call) (kind.Observation, error) {
	out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{c.Existing}})
	if awserr.Gone(err) || err == nil && len(out.Subnets) == 0 {
		return kind.Observation{State: kind.Absent}, nil
	}

	if err != nil {
		return kind.Observation{}, fmt.Errorf("describe subnet %s: %w", c.Existing, err)
	}

	found := &out.Subnets[0]
	obs := seen(c, found)
	obs.Problems = kind.Belongs(c, "subnet", ec2tag.Map(found.Tags))

	if vpc := c.Spec.Network.Existing.VPCID; aws.ToString(found.VpcId) != vpc {
		obs.Problems = append(obs.Problems, kind.Unusable(c, "The subnet "+c.Existing+" is not in the VPC "+vpc+".", "Name subnets of that VPC."))
	}

	if obs.State != kind.Ready {
		obs.Problems = append(obs.Problems, kind.Unusable(c, "The subnet "+c.Existing+" is "+string(found.State)+".", "Name subnets that are available."))
	}

	return obs, nil
}

// seen is what every look reports of a subnet, ours or not.
func seen(c *kind.Call, found *types.Subnet) kind.Observation {
	obs := kind.Observation{
		State: kind.Ready, ID: id(found),
		ARN:     c.Owner.ARN("ec2", c.Owner.Region, c.Owner.Account, "subnet/"+id(found)),
		Outputs: map[string]string{"zone": aws.ToString(found.AvailabilityZone), "cidr": aws.ToString(found.CidrBlock)},
	}

	if found.State != types.SubnetStateAvailable {
		obs.State = kind.InProgress
	}

	return obs
}

// association returns the subnet's own association with a route table and that table's id; neither if it follows the VPC's main table.
func (s *Subnet) association(ctx context.Context, id string) (*types.RouteTableAssociation, string, error) {
	out, err := s.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{
		Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{id}}},
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for the route table of subnet %s: %w", id, err)
	}

	for i := range out.RouteTables {
		for k := range out.RouteTables[i].Associations {
			if a := &out.RouteTables[i].Associations[k]; aws.ToString(a.SubnetId) == id {
				return a, aws.ToString(out.RouteTables[i].RouteTableId), nil
			}
		}
	}

	return nil, "", nil
}

// find returns the subnet that carries our tags, or nil.
func (s *Subnet) find(ctx context.Context, c *kind.Call) (*types.Subnet, error) {
	out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: ec2tag.Filters(c.Identity())})
	if err != nil {
		return nil, fmt.Errorf("look for the subnet by tag: %w", err)
	}

	if len(out.Subnets) == 0 {
		return nil, nil
	}

	return &out.Subnets[0], nil
}

func id(s *types.Subnet) string {
	if s == nil {
		return ""
	}

	return aws.ToString(s.SubnetId)
}
