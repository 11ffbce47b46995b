// Package ec2tag turns our tags into EC2's shapes. It makes no calls.
package ec2tag

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Spec tags a thing in its create request. EC2's console shows the Name tag, so the resource's ref becomes it unless the owner set one.
func Spec(of types.ResourceType, tags map[string]string) []types.TagSpecification {
	named := maps.Clone(tags)
	if named["Name"] == "" {
		named["Name"] = tags[deploy.TagDeployment] + " " + tags[deploy.TagResource]
	}

	return []types.TagSpecification{{ResourceType: of, Tags: List(named)}}
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
