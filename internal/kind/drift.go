package kind

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// None is what a difference shows for something that is not there.
const None = "none"

// Differing keeps of these pairs what is not as wanted. People read them: what is empty is None.
func Differing(pairs ...Difference) []Difference {
	var all []Difference

	for _, d := range pairs {
		if d.Want != d.Have {
			d.Want, d.Have = cmp.Or(d.Want, None), cmp.Or(d.Have, None)
			all = append(all, d)
		}
	}

	return all
}

// PropertyTags is what a difference in the tags of a thing is called.
const PropertyTags = "tags"

// Tags compares the tags that are wanted with those that a thing carries, and shows those only that are not as wanted. What others put there stays, and so
// does a tag that an update drops from the spec: nothing tells it from one that was put there by hand.
func Tags(want, have map[string]string) Difference {
	wanted, found := map[string]string{}, map[string]string{}

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

	return Difference{Property: PropertyTags, Want: Pairs(wanted), Have: Pairs(found)}
}

// Pairs writes tags for people, in the order of their keys.
func Pairs(tags map[string]string) string {
	all := make([]string, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}

	return strings.Join(all, ", ")
}
