// Package iamtag turns our tags into IAM's shapes. It makes no calls.
package iamtag

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// List is how IAM takes tags.
func List(tags map[string]string) []types.Tag {
	all := make([]types.Tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(tags[k])})
	}

	return all
}

// Map reads tags as IAM answers them.
func Map(tags []types.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}

	return m
}

// Missing returns the wanted tags that are not there or have another value, and those other values.
func Missing(want, have map[string]string) (wanted, found map[string]string) {
	wanted, found = map[string]string{}, map[string]string{}

	for k, v := range want {
		old, ok := have[k]
		if ok && old == v {
			continue
		}

		wanted[k] = v

		if ok {
			found[k] = old
		}
	}

	return wanted, found
}

// Text writes tags for people.
func Text(tags map[string]string) string {
	all := make([]string, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}

	return strings.Join(all, ", ")
}
