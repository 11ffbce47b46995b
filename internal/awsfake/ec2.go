package awsfake

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// EC2 is the fake of the service, as far as the network and launch template kinds call it: ec2.go holds what all of it shares, ec2vpc.go the network,
// ec2group.go security groups and network interfaces, ec2template.go launch templates.
type EC2 struct {
	w *World

	vpcs       map[string]*vpc
	gateways   map[string]*gateway
	tables     map[string]*table
	subnets    map[string]*subnet
	endpoints  map[string]*endpoint
	groups     map[string]*group
	interfaces map[string]*netInterface
	templates  map[string]*template
	tokens     map[string]remembered
	// associated says when each association of a route table was made.
	associated map[string]born

	// Lag is how long a new thing stays invisible to every call but the one that made it. EC2 API developer guide, "Eventual consistency".
	Lag time.Duration
	// PageSize is how many things a page of a Describe call holds that takes a NextToken; zero is all of them.
	PageSize int
	// Unsuccessful, where set, is the code with which the next DeleteVpcEndpoints refuses one endpoint inside its 200.
	Unsuccessful string
	// Zones are the Availability Zones that DescribeAvailabilityZones lists; Offers says which instance types each has.
	Zones  []types.AvailabilityZone
	Offers map[string][]string
}

func newEC2(w *World) *EC2 {
	return &EC2{
		w: w, vpcs: map[string]*vpc{}, gateways: map[string]*gateway{}, tables: map[string]*table{}, subnets: map[string]*subnet{},
		endpoints: map[string]*endpoint{}, groups: map[string]*group{}, interfaces: map[string]*netInterface{}, templates: map[string]*template{},
		tokens: map[string]remembered{}, associated: map[string]born{},
		Zones: []types.AvailabilityZone{zone("us-east-1a"), zone("us-east-1b"), zone("us-east-1c")},
		Offers: map[string][]string{
			"us-east-1a": {"m5.large", "m5.xlarge", "c5.large", "r5.large"},
			"us-east-1b": {"m5.large", "m5.xlarge", "c5.large", "r5.large"},
			"us-east-1c": {"m5.large", "m5.xlarge", "r5.large"},
		},
	}
}

func zone(name string) types.AvailabilityZone {
	return types.AvailabilityZone{
		ZoneName: aws.String(name), ZoneType: aws.String("availability-zone"), State: types.AvailabilityZoneStateAvailable,
		OptInStatus: types.AvailabilityZoneOptInStatusOptInNotRequired,
	}
}

// born is the life of a thing: when it was made.
type born struct{ at time.Time }

func (e *EC2) now() born { return born{at: e.w.Now()} }

// known returns a thing by id once it is visible, or nil.
func known[T interface{ made() time.Time }](e *EC2, all map[string]T, id *string) (T, bool) {
	v, ok := all[aws.ToString(id)]

	return v, ok && e.visible(v.made())
}

func (b born) made() time.Time { return b.at }

func (e *EC2) visible(at time.Time) bool { return !e.w.Now().Before(at.Add(e.Lag)) }

// remembered is what a client token stands for: a digest of the request, and what it was answered.
type remembered struct {
	born

	request [sha256.Size]byte
	answer  any
}

// ForgetTokens drops the client tokens that were used before a time: a large simulation need not keep what nobody will repeat. It is no call of EC2.
func (e *EC2) ForgetTokens(before time.Time) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()

	maps.DeleteFunc(e.tokens, func(_ string, r remembered) bool { return r.at.Before(before) })
}

// once answers a repeated create as it answered the first, also when its object is gone; the same token with other parameters is refused
// (IdempotentParameterMismatch). EC2 API developer guide, "Ensuring idempotency".
func once[O any](e *EC2, token *string, in any, act func() (O, error)) (O, error) {
	var none O

	if token == nil {
		return act()
	}

	text, err := json.Marshal(in)
	if err != nil {
		return none, fmt.Errorf("encode the request: %w", err)
	}

	request := sha256.Sum256(text)

	key := fmt.Sprintf("%T %s", in, *token)

	if r, ok := e.tokens[key]; ok {
		if r.request != request {
			return none, refuse("IdempotentParameterMismatch", "The client token you have provided is associated with a resource with other parameters")
		}

		return r.answer.(O), nil
	}

	out, err := act()
	if err == nil {
		e.tokens[key] = remembered{born: e.now(), request: request, answer: out}
	}

	return out, err
}

// tagged lists what the filters by tag leave over, in the order of ids; selected applies the others.
func tagged[T interface{ labels() map[string]string }](all map[string]T, filters []types.Filter) []T {
	type want struct {
		key    string
		values []string
	}

	var wanted []want

	for _, f := range filters {
		if key, isTag := strings.CutPrefix(aws.ToString(f.Name), "tag:"); isTag {
			wanted = append(wanted, want{key, f.Values})
		}
	}

	return picked(all, func(v T) bool {
		tags := v.labels()

		for _, w := range wanted {
			if have, set := tags[w.key]; !set || !slices.Contains(w.values, have) {
				return false
			}
		}

		return true
	})
}

func (v *vpc) labels() map[string]string      { return v.tags }
func (g *gateway) labels() map[string]string  { return g.tags }
func (t *table) labels() map[string]string    { return t.tags }
func (s *subnet) labels() map[string]string   { return s.tags }
func (p *endpoint) labels() map[string]string { return p.tags }
func (g *group) labels() map[string]string    { return g.tags }
func (t *template) labels() map[string]string { return t.tags }

// selected applies the filters of a Describe call: all of them must match, each by one of its values. EC2 refuses a filter that the call does not have.
func selected(filters []types.Filter, tags map[string]string, attributes map[string][]string) (bool, error) {
	matches := true

	for _, f := range filters {
		have, ok := attributes[aws.ToString(f.Name)]

		if key, isTag := strings.CutPrefix(aws.ToString(f.Name), "tag:"); isTag {
			ok = true

			if v, set := tags[key]; set {
				have = []string{v}
			}
		}

		if !ok {
			return false, refuse("InvalidParameterValue", "The filter '%s' is invalid", aws.ToString(f.Name))
		}

		matches = matches && slices.ContainsFunc(f.Values, func(v string) bool { return slices.Contains(have, v) })
	}

	return matches, nil
}

// ec2Page cuts a list where the world has a PageSize; a token is the place to go on from.
func ec2Page[T any](e *EC2, all []T, token *string) ([]T, *string, error) {
	from := 0

	if token != nil {
		var err error
		if from, err = strconv.Atoi(*token); err != nil || from > len(all) {
			return nil, nil, refuse("InvalidNextToken", "The token '%s' is invalid", *token)
		}
	}

	if e.PageSize == 0 || from+e.PageSize >= len(all) {
		return all[from:], nil, nil
	}

	return all[from : from+e.PageSize], aws.String(strconv.Itoa(from + e.PageSize)), nil
}

// DescribeAvailabilityZones lists the zones that the account has.
func (e *EC2) DescribeAvailabilityZones(ctx context.Context, in *ec2.DescribeAvailabilityZonesInput, _ ...func(*ec2.Options)) (*ec2.DescribeAvailabilityZonesOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeAvailabilityZones", in, func() (*ec2.DescribeAvailabilityZonesOutput, error) {
		return &ec2.DescribeAvailabilityZonesOutput{AvailabilityZones: slices.Clone(e.Zones)}, nil
	})
}

// DescribeInstanceTypeOfferings lists where an instance type can be had, by zone or in the Region as a whole.
func (e *EC2) DescribeInstanceTypeOfferings(ctx context.Context, in *ec2.DescribeInstanceTypeOfferingsInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	return do(ctx, e.w, "ec2", "DescribeInstanceTypeOfferings", in, func() (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
		var all []types.InstanceTypeOffering

		offer := func(location, instanceType string) error {
			ok, err := selected(in.Filters, nil, map[string][]string{"location": {location}, "instance-type": {instanceType}})
			if ok {
				all = append(all, types.InstanceTypeOffering{
					InstanceType: types.InstanceType(instanceType), Location: aws.String(location), LocationType: in.LocationType,
				})
			}

			return err
		}

		region := map[string]bool{}

		for _, name := range sortedKeys(e.Offers) {
			for _, t := range e.Offers[name] {
				if in.LocationType != types.LocationTypeAvailabilityZone {
					region[t] = true

					continue
				}

				if err := offer(name, t); err != nil {
					return nil, err
				}
			}
		}

		for _, t := range sortedKeys(region) {
			if err := offer(e.w.Region, t); err != nil {
				return nil, err
			}
		}

		cut, next, err := ec2Page(e, all, in.NextToken)
		if err != nil {
			return nil, err
		}

		return &ec2.DescribeInstanceTypeOfferingsOutput{InstanceTypeOfferings: cut, NextToken: next}, nil
	})
}

// maxTags is what one thing may carry. EC2 user guide, "Tag restrictions".
const maxTags = 50

// CreateTags adds and replaces tags of any of the things, of all of them or of none. API reference, CreateTags.
func (e *EC2) CreateTags(ctx context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	return do(ctx, e.w, "ec2", "CreateTags", in, func() (*ec2.CreateTagsOutput, error) {
		all, err := e.tagged(in.Resources)
		if err != nil {
			return nil, err
		}

		added := tagSpec([]types.TagSpecification{{Tags: in.Tags}}, "")

		for _, tags := range all {
			after := maps.Clone(*tags)
			if after == nil {
				after = map[string]string{}
			}

			if maps.Copy(after, added); len(after) > maxTags {
				return nil, refuse("TagLimitExceeded", "More than %d tags specified", maxTags)
			}
		}

		for _, tags := range all {
			if *tags == nil {
				*tags = map[string]string{}
			}

			maps.Copy(*tags, added)
		}

		return &ec2.CreateTagsOutput{}, nil
	})
}

// DeleteTags takes tags away: one without a value whatever its value, one with a value only if it has that. API reference, DeleteTags.
func (e *EC2) DeleteTags(ctx context.Context, in *ec2.DeleteTagsInput, _ ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error) {
	return do(ctx, e.w, "ec2", "DeleteTags", in, func() (*ec2.DeleteTagsOutput, error) {
		all, err := e.tagged(in.Resources)
		if err != nil {
			return nil, err
		}

		for _, tags := range all {
			for _, t := range in.Tags {
				if t.Value == nil || *t.Value == (*tags)[*t.Key] {
					delete(*tags, *t.Key)
				}
			}
		}

		return &ec2.DeleteTagsOutput{}, nil
	})
}

// tagged finds the tags of things by id. What is not there, or not visible yet, is refused as the calls on its sort refuse it.
func (e *EC2) tagged(ids []string) ([]*map[string]string, error) {
	all := make([]*map[string]string, 0, len(ids))

	for _, id := range ids {
		var (
			tags    *map[string]string
			at      time.Time
			missing error
		)

		prefix, _, _ := strings.Cut(id, "-")

		switch prefix {
		case "vpc":
			missing = noVPC(&id)
			if v := e.vpcs[id]; v != nil {
				tags, at = &v.tags, v.at
			}
		case "igw":
			missing = noGateway(&id)
			if g := e.gateways[id]; g != nil {
				tags, at = &g.tags, g.at
			}
		case "rtb":
			missing = noTable(&id)
			if t := e.tables[id]; t != nil {
				tags, at = &t.tags, t.at
			}
		case "subnet":
			missing = noSubnet(&id)
			if s := e.subnets[id]; s != nil {
				tags, at = &s.tags, s.at
			}
		case "vpce":
			missing = refuse("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", id)
			if p := e.endpoints[id]; p != nil {
				tags, at = &p.tags, p.at
			}
		case "sg":
			missing = noGroup(&id)
			if g := e.groups[id]; g != nil {
				tags, at = &g.tags, g.at
			}
		case "lt":
			missing = noTemplate(&id)
			if t := e.templates[id]; t != nil {
				tags, at = &t.tags, t.at
			}
		default:
			return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
		}

		if tags == nil || !e.visible(at) {
			return nil, missing
		}

		all = append(all, tags)
	}

	return all, nil
}

func tagSpec(specs []types.TagSpecification, of types.ResourceType) map[string]string {
	tags := map[string]string{}

	for _, s := range specs {
		if s.ResourceType != of {
			continue
		}

		for _, t := range s.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}

	return tags
}

func ec2Tags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return list
}
