package subnet_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/kindtest"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind/subnet"
)

func build(t *testing.T) *kindtest.Bench {
	t.Helper()

	return buildFor(t, deploy.Spec{}, "subnet/1")
}

func buildFor(t *testing.T, spec deploy.Spec, ref deploy.Ref) *kindtest.Bench {
	t.Helper()

	w, clock := kindtest.World()
	b := kindtest.New(t, subnet.New(w.EC2), w, clock, spec, ref)
	b.Others["vpc"] = kind.Other{ID: vpc(t, w)}
	b.Others["route-table"] = kind.Other{ID: table(t, b)}

	return b
}

func vpc(t *testing.T, w *awsfake.World) string {
	t.Helper()

	out, err := w.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}

	return *out.Vpc.VpcId
}

func table(t *testing.T, b *kindtest.Bench) string {
	t.Helper()

	out, err := b.World.EC2.CreateRouteTable(t.Context(), &ec2.CreateRouteTableInput{VpcId: aws.String(b.Others["vpc"].ID)})
	if err != nil {
		t.Fatal(err)
	}

	return *out.RouteTable.RouteTableId
}

func create(t *testing.T, w *awsfake.World, vpc, cidr string, tags ...types.Tag) string {
	t.Helper()

	out, err := w.EC2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{
		VpcId: aws.String(vpc), CidrBlock: aws.String(cidr), AvailabilityZone: aws.String("us-east-1a"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSubnet, Tags: tags}},
	})
	if err != nil {
		t.Fatal(err)
	}

	return *out.Subnet.SubnetId
}

func count(t *testing.T, b *kindtest.Bench) int {
	t.Helper()

	out, err := b.World.EC2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}

	return len(out.Subnets)
}

func association(t *testing.T, b *kindtest.Bench) *string {
	t.Helper()

	out, err := b.World.EC2.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{
		Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{b.ID}}},
	})
	if err != nil || len(out.RouteTables) != 1 {
		t.Fatalf("route tables of %s: got %d, %v, want one", b.ID, len(out.RouteTables), err)
	}

	return out.RouteTables[0].Associations[0].RouteTableAssociationId
}

func TestConformance(t *testing.T) {
	kindtest.Suite(t, kindtest.Subject{
		Build: build, Count: count, Late: func(b *kindtest.Bench, d time.Duration) { b.World.EC2.Lag = d },
		Tolerated: map[string]string{"CreateSubnet": "InvalidVpcID.NotFound", "ModifySubnetAttribute": "InvalidSubnetID.NotFound", "AssociateRouteTable": "Resource.AlreadyAssociated"},
		Foreign: func(t *testing.T, b *kindtest.Bench) {
			t.Helper()
			create(t, b.World, b.Others["vpc"].ID, "10.20.192.0/18")
		},
		Drifts: map[string]kindtest.Drift{
			"NoPublicAddresses": {Property: "mapPublicIpOnLaunch", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.ModifySubnetAttribute(t.Context(), &ec2.ModifySubnetAttributeInput{
					SubnetId: aws.String(b.ID), MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(false)},
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"Disassociated": {Property: "routeTable", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.DisassociateRouteTable(t.Context(), &ec2.DisassociateRouteTableInput{AssociationId: association(t, b)})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"OtherTable": {Property: "routeTable", Change: func(t *testing.T, b *kindtest.Bench) {
				t.Helper()

				_, err := b.World.EC2.ReplaceRouteTableAssociation(t.Context(), &ec2.ReplaceRouteTableAssociationInput{
					AssociationId: association(t, b), RouteTableId: aws.String(table(t, b)),
				})
				if err != nil {
					t.Fatal(err)
				}
			}},
			"OtherSpec": {Property: "availabilityZone", Beyond: true, Change: func(_ *testing.T, b *kindtest.Bench) {
				b.Spec.Network.Zones = []string{"us-east-1c", "us-east-1b"}
			}},
		},
	})
}

// EC2 may still be at the association that it has acknowledged: a subnet on its way to our table is neither ready nor to be associated once more.
func TestAssociationTakesAWhile(t *testing.T) {
	b := build(t)
	b.World.Takes.SubnetPending, b.World.Takes.Associating = 0, 5*time.Second
	start, mark := b.Clock.Now(), len(b.World.Calls())

	b.Ensure(t)

	if got := b.Clock.Now().Sub(start); got != b.World.Takes.Associating {
		t.Errorf("ready after %s, want %s", got, b.World.Takes.Associating)
	}

	if diff := cmp.Diff([]string{"CreateSubnet", "ModifySubnetAttribute", "AssociateRouteTable"}, b.Changes(mark)); diff != "" {
		t.Errorf("changing calls (-want +got):\n%s", diff)
	}
}

func TestAllSubnetsFitTogether(t *testing.T) {
	spec := deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1c", "us-east-1a", "us-east-1b"}}}
	first := buildFor(t, spec, "subnet/1")

	var got []string

	for _, item := range first.Kind.Plan(first.Spec) {
		b := kindtest.New(t, first.Kind, first.World, first.Clock, spec, item.Ref)
		b.Others = first.Others
		r := b.Ensure(t)
		got = append(got, r.Outputs["zone"]+" "+r.Outputs["cidr"])
	}

	want := []string{"us-east-1c 10.20.0.0/18", "us-east-1a 10.20.64.0/18", "us-east-1b 10.20.128.0/18"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subnets (-want +got):\n%s", diff)
	}
}

func TestQuartersAreDisjointAndInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.Uint32().Draw(t, "address")
		bits := rapid.IntRange(16, 24).Draw(t, "bits")
		whole := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(raw >> 24), byte(raw >> 16), byte(raw >> 8), byte(raw)}), bits).Masked()

		var parts []netip.Prefix

		items := subnet.New(nil).Plan(deploy.Spec{Network: deploy.Network{CIDR: whole.String(), Zones: []string{"a", "b", "c"}}}.WithDefaults())
		for _, item := range items {
			fixed, ok := item.Fixed.(struct{ Zone, CIDR string })
			if !ok {
				t.Fatalf("fixed settings are %T", item.Fixed)
			}

			part, err := netip.ParsePrefix(fixed.CIDR)
			if err != nil {
				t.Fatalf("range of %s in %s: %v", item.Ref, whole, err)
			}

			if part.Bits() != bits+2 || part.Masked() != part || !whole.Contains(part.Addr()) {
				t.Fatalf("%s is no quarter of %s", part, whole)
			}

			for _, other := range parts {
				if other.Overlaps(part) {
					t.Fatalf("%s overlaps %s in %s", part, other, whole)
				}
			}

			parts = append(parts, part)
		}
	})
}

func TestChosenZoneStays(t *testing.T) {
	b := build(t)

	// The create is answered by nothing and took no effect; meanwhile the Region lists another zone first.
	b.World.Fault = kindtest.RefuseOnce("CreateSubnet", "InternalError")

	if _, err := b.Look(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Transient) {
		t.Fatalf("create with an internal error: got %v, want class %q", err, deploy.Transient)
	}

	b.World.Fault = nil
	b.World.EC2.Zones = b.World.EC2.Zones[1:]
	b.World.EC2.Zones = append(b.World.EC2.Zones, types.AvailabilityZone{ZoneName: aws.String("us-east-1a"), State: types.AvailabilityZoneStateImpaired})

	if r := b.Ensure(t); r.Outputs["zone"] != "us-east-1a" {
		t.Errorf("zone: got %s, want the one that was noted before the create", r.Outputs["zone"])
	}
}

func TestRemoveSaysWhatHoldsTheSubnet(t *testing.T) {
	b := build(t)
	b.Ensure(t)
	held := b.World.EC2.PlantInterface(b.ID, "AWS Lambda VPC ENI", false)

	r, err := b.Look(t.Context(), deploy.Remove)
	if err != nil || r.Done || !strings.Contains(r.Waiting, held) {
		t.Errorf("remove while an interface is in the subnet: got %+v, %v, want to wait for %s", r, err, held)
	}

	b.World.EC2.PullInterface(held)
	b.Remove(t)

	if n := count(t, b); n != 0 {
		t.Errorf("subnets left: %d", n)
	}
}

func compute(types ...string) deploy.Compute {
	return deploy.Compute{Environments: []deploy.Environment{{Name: "default", InstanceTypes: types}}}
}

func zone(name string, change func(z *types.AvailabilityZone)) types.AvailabilityZone {
	z := types.AvailabilityZone{
		ZoneName: aws.String(name), ZoneType: aws.String("availability-zone"), State: types.AvailabilityZoneStateAvailable,
		OptInStatus: types.AvailabilityZoneOptInStatusOptInNotRequired,
	}
	change(&z)

	return z
}

func TestZones(t *testing.T) {
	odd := []types.AvailabilityZone{
		zone("us-east-1z", func(*types.AvailabilityZone) {}),
		zone("us-east-1-bos-1a", func(z *types.AvailabilityZone) { z.ZoneType = aws.String("local-zone") }),
		zone("us-east-1a", func(z *types.AvailabilityZone) { z.State = types.AvailabilityZoneStateImpaired }),
		zone("us-east-1b", func(z *types.AvailabilityZone) { z.OptInStatus = types.AvailabilityZoneOptInStatusNotOptedIn }),
		zone("us-east-1c", func(*types.AvailabilityZone) {}),
	}

	bare := []types.AvailabilityZone{
		zone("us-east-1a", func(*types.AvailabilityZone) {}), zone("us-east-1aa", func(*types.AvailabilityZone) {}), zone("us-east-1b", func(*types.AvailabilityZone) {}),
	}

	cases := map[string]struct {
		reason   string
		spec     deploy.Spec
		zones    []types.AvailabilityZone
		ref      deploy.Ref
		want     string
		findings []string
		pointer  string
	}{
		"First":       {"the first zone by name", deploy.Spec{}, nil, "subnet/1", "us-east-1a", nil, ""},
		"Second":      {"the second zone by name", deploy.Spec{}, nil, "subnet/2", "us-east-1b", nil, ""},
		"Named":       {"the named zone", deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1c", "us-east-1a"}}}, nil, "subnet/1", "us-east-1c", nil, ""},
		"OnlyUsable":  {"zones that are local, impaired or closed are left out", deploy.Spec{Compute: compute("optimal")}, odd, "subnet/2", "us-east-1z", nil, ""},
		"Default":     {"a zone may lack all default families, as use1-az3 does", deploy.Spec{}, bare, "subnet/2", "us-east-1b", nil, ""},
		"Offers":      {"zone c has no c5", deploy.Spec{Compute: compute("c5.large")}, nil, "subnet/2", "us-east-1b", nil, ""},
		"Family":      {"a family is offered if any of its types is", deploy.Spec{Compute: compute("c5")}, nil, "subnet/2", "us-east-1b", nil, ""},
		"FamilyExact": {"m is no family of m5: nobody has it, which the environment's own check says", deploy.Spec{Compute: compute("m")}, nil, "subnet/2", "", nil, ""},
		"Optimal":     {"Batch's own words fit everywhere", deploy.Spec{Compute: compute("optimal")}, nil, "subnet/1", "us-east-1a", nil, ""},
		"SpokenFor":   {"the last one has said it for all", deploy.Spec{Compute: compute("p5.48xlarge")}, nil, "subnet/1", "", nil, ""},
		"Unheard":     {"nor has the Region any of it", deploy.Spec{Compute: compute("p5.48xlarge")}, nil, "subnet/2", "", nil, ""},
		"Elsewhere":   {"the Region has it, but in zones that cannot be used", deploy.Spec{Compute: compute("c5.large")}, odd, "subnet/2", "", []string{"too_few_zones"}, "/spec/network"},
		"Unknown": {
			"a zone that the account does not have",
			deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1a", "eu-west-1a"}}},
			nil, "subnet/2",
			"",
			[]string{"unknown_zone"},
			"/spec/network/zones/1",
		},
		"NamedWithout": {
			"a named zone must have what the environments want",
			deploy.Spec{Network: deploy.Network{Zones: []string{"us-east-1c", "us-east-1a"}}, Compute: compute("c5.large")},
			nil, "subnet/1", "",
			[]string{"zone_without_instance_types"},
			"/spec/network/zones/0",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := buildFor(t, c.spec, c.ref)
			b.World.EC2.PageSize = 2

			if c.zones != nil {
				b.World.EC2.Zones = c.zones
			}

			var codes []string

			for _, f := range b.Check(t) {
				codes = append(codes, f.Code)

				if f.Pointer != c.pointer || f.Class != deploy.Invalid || f.Remedy == "" {
					t.Errorf("%s: finding %+v, want class invalid, pointer %s and a remedy", c.reason, f, c.pointer)
				}
			}

			if diff := cmp.Diff(c.findings, codes); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}

			if c.want == "" {
				return
			}

			if r := b.Ensure(t); r.Outputs["zone"] != c.want {
				t.Errorf("%s: got %s, want %s", c.reason, r.Outputs["zone"], c.want)
			}
		})
	}
}

func TestEnsureRefusesWhereNoZoneFits(t *testing.T) {
	b := buildFor(t, deploy.Spec{Compute: compute("p5.48xlarge")}, "subnet/1")

	if _, err := b.Until(t.Context(), deploy.Ensure); !awserr.Is(err, deploy.Invalid) {
		t.Errorf("got %v, want class %q", err, deploy.Invalid)
	}

	if n := count(t, b); n != 0 {
		t.Errorf("subnets made: %d", n)
	}
}

func TestCheckExisting(t *testing.T) {
	cases := map[string]struct {
		reason string
		id     func(t *testing.T, w *awsfake.World, vpc string) string
		want   []string
	}{
		"Usable": {"a subnet of the named VPC", func(t *testing.T, w *awsfake.World, vpc string) string {
			t.Helper()
			return create(t, w, vpc, "10.20.0.0/20")
		}, nil},
		"Absent": {"no such subnet", func(*testing.T, *awsfake.World, string) string { return "subnet-0" }, []string{"existing_not_found"}},
		"OtherVPC": {
			"a subnet of another VPC cannot be used", func(t *testing.T, w *awsfake.World, _ string) string {
				t.Helper()

				return create(t, w, vpc(t, w), "10.20.0.0/20")
			},
			[]string{"existing_unusable"},
		},
		"OfADeployment": {
			"a subnet that a deployment made goes with it", func(t *testing.T, w *awsfake.World, vpc string) string {
				t.Helper()

				return create(t, w, vpc, "10.20.0.0/20", types.Tag{Key: aws.String(deploy.TagResource), Value: aws.String("subnet/1")})
			},
			[]string{"existing_belongs_to_deployment"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, clock := kindtest.World()
			home := vpc(t, w)
			id := c.id(t, w, home)
			clock.Advance(time.Minute)

			spec := deploy.Spec{Network: deploy.Network{Existing: &deploy.ExistingNetwork{VPCID: home, SubnetIDs: []string{"subnet-1", id}}}}
			b := kindtest.New(t, subnet.New(w.EC2), w, clock, spec, "subnet/2")

			var got []string

			for _, f := range b.Check(t) {
				got = append(got, f.Code)

				if f.Pointer != "/spec/network/existing/subnetIds/1" || f.Remedy == "" {
					t.Errorf("%s: finding without pointer or remedy: %+v", c.reason, f)
				}
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}

			if len(c.want) == 0 && b.Observe(t).Outputs["cidr"] != "10.20.0.0/20" {
				t.Errorf("%s: outputs %v", c.reason, b.Observe(t).Outputs)
			}
		})
	}
}
