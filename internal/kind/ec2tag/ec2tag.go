// Package ec2tag keeps our tags on EC2's things, in EC2's shapes.
package ec2tag

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// API is what mends tags.
type API interface {
	CreateTags(ctx context.Context, in *ec2.CreateTagsInput, opts ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
}

// Spec tags a thing in its create request.
func Spec(of types.ResourceType, tags map[string]string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: of, Tags: List(Named(tags))}}
}

// Named are all tags of a thing: EC2's console shows the Name tag, so the resource's ref becomes it unless the owner set one.
func Named(tags map[string]string) map[string]string {
	named := maps.Clone(tags)
	if named["Name"] == "" {
		named["Name"] = tags[deploy.TagDeployment] + " " + tags[deploy.TagResource]
	}

	return named
}

// Differ compares the tags that a create puts on a resource with those that it carries.
func Differ(c *kind.Call, have []types.Tag) kind.Difference {
	return kind.Tags(Named(c.Tags()), Map(have))
}

// Mend puts the tags of a create on a resource that stands, and tells whether EC2 has done so; what it does not see yet is left to the next look. All of
// them are sent: the functions may tag what carries the installation's tag, and only so that it keeps it.
func Mend(ctx context.Context, api API, c *kind.Call, id string) (bool, error) {
	_, err := api.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: List(Named(c.Tags()))})
	if awserr.IgnoreGone(err) != nil {
		return false, fmt.Errorf("tag %s: %w", id, err)
	}

	return err == nil, nil
}

// List is all tags in the order of their keys.
func List(tags map[string]string) []types.Tag {
	all := make([]types.Tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return all
}

// Filters finds things that carry all the tags.
func Filters(tags map[string]string) []types.Filter {
	all := make([]types.Filter, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Filter{Name: aws.String("tag:" + k), Values: []string{tags[k]}})
	}

	return all
}

// Map reads tags as AWS answers them.
func Map(tags []types.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}

	return m
}

// OneAttempt keeps the SDK from repeating a create that AWS cannot recognise as a repetition: a lost answer would make a second thing.
func OneAttempt(o *ec2.Options) { o.RetryMaxAttempts = 1 }

// Of finds whatever an installation made.
func Of(installation string) []types.Filter {
	return Filters(map[string]string{deploy.TagInstallation: installation})
}
