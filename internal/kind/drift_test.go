package kind_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

func TestTags(t *testing.T) {
	cases := map[string]struct {
		reason     string
		want, have map[string]string
		differing  []kind.Difference
	}{
		"Same":    {"as wanted", map[string]string{"a": "1"}, map[string]string{"a": "1"}, nil},
		"More":    {"what others put there is theirs", map[string]string{"a": "1"}, map[string]string{"a": "1", "b": "2"}, nil},
		"Changed": {"both values show", map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "1", "b": "3"}, []kind.Difference{{Property: "tags", Want: "b=2", Have: "b=3"}}},
		"Gone":    {"what is not there is told so", map[string]string{"a": "1"}, nil, []kind.Difference{{Property: "tags", Want: "a=1", Have: "none"}}},
		"Empty":   {"a tag without a value is a tag", map[string]string{"a": ""}, nil, []kind.Difference{{Property: "tags", Want: "a=", Have: "none"}}},
		"Emptied": {"and differs from one with a value", map[string]string{"a": "1"}, map[string]string{"a": ""}, []kind.Difference{{Property: "tags", Want: "a=1", Have: "a="}}},
		"Case":    {"values have case", map[string]string{"a": "B"}, map[string]string{"a": "b"}, []kind.Difference{{Property: "tags", Want: "a=B", Have: "a=b"}}},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.differing, kind.Differing(kind.Tags(c.want, c.have))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
