package workflow

import (
	"fmt"
	"maps"
	"slices"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

// metadataKey is where a template says which resource of ours one of its own stands for.
const metadataKey = "metaflow-deployer"

// template says what the deployment would have in CloudFormation's words, for those who want to read it or keep it. What is existing or the account's is
// not in it; what else a template cannot say is listed in its metadata.
func (c *Control) template(x *examination) map[string]any {
	resources, notHeld := map[string]any{}, []string{}

	for i, item := range x.items {
		switch k, ok := x.kinds[i].(kind.Planned); {
		case x.kinds[i].About().Shared:
			notHeld = append(notHeld, fmt.Sprintf("%s: it belongs to the account. A stack would fail where it is there already, and take it away from others when it goes.", item.Ref))
		case item.Existing != "":
			notHeld = append(notHeld, fmt.Sprintf("%s: %s is there already; it is referred to, and was not checked by this template.", item.Ref, item.Existing))
		case !ok:
			notHeld = append(notHeld, fmt.Sprintf("%s: nothing is known of how CloudFormation says it.", item.Ref))
		default:
			put(resources, kind.Logical(item.Ref), item.Ref, k.Template(x.calls[i]))
		}
	}

	return map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Description":              "A Metaflow environment as metaflow-deployer plans it. To be read or kept: a stack of it is not known to metaflow-deployer and is not managed by it.",
		"Metadata": map[string]any{metadataKey: map[string]any{
			"NotHeld": append(notHeld, always()...),
		}},
		"Resources": resources,
	}
}

// always lists what no template can hold.
func always() []string {
	return []string{
		"data: a bucket that an earlier delete kept is taken up again by metaflow-deployer; a stack fails because its name is taken. The stack leaves its bucket behind when it goes.",
		"tags of metaflow-deployer: they say that a record stands behind a thing, and here none does.",
		"zones and instance types that the spec does not name: metaflow-deployer finds out which ones fit; the template takes the Region's first zones and all default families.",
		"waiting: until EC2 sees a new instance profile and Batch a new role.",
	}
}

// put adds a resource and its parts.
func put(resources map[string]any, logical string, ref deploy.Ref, t kind.Template) {
	r := map[string]any{"Type": t.Type, "Properties": given(t.Properties), "Metadata": map[string]any{metadataKey: string(ref)}}

	if t.Keep {
		r["DeletionPolicy"], r["UpdateReplacePolicy"] = "Retain", "Retain"
	}

	if len(t.DependsOn) > 0 {
		r["DependsOn"] = t.DependsOn
	}

	resources[logical] = r

	for _, end := range slices.Sorted(maps.Keys(t.Parts)) {
		put(resources, logical+end, ref, t.Parts[end])
	}
}

// given leaves out empty lists of tags.
func given(properties map[string]any) map[string]any {
	for name, v := range properties {
		if tags, ok := v.([]map[string]any); ok && len(tags) == 0 {
			delete(properties, name)
		}
	}

	return properties
}
