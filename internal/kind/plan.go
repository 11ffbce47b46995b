package kind

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Planned is what every kind says of its resources before any exists: for plans. All of it is pure: it follows from the spec, the owner and the price list.
type Planned interface {
	Kind
	// Named is the name that AWS will know the resource by, empty for what AWS names by an id only.
	Named(c *Call) string
	// Cost lists what the resource costs, and what might be thought to cost and does not. Existing resources are not asked.
	Cost(c *Call) []deploy.CostLine
	// Template says the resource in CloudFormation's words. Existing and shared resources are not asked.
	Template(c *Call) Template
}

// Template is a resource in CloudFormation's words.
type Template struct {
	Type       string
	Properties map[string]any
	// Keep: it stays with what is in it when the stack goes.
	Keep bool
	// DependsOn names logical ids that must be there first, beyond those that properties refer to.
	DependsOn []string
	// Parts are what CloudFormation counts as resources of their own and we do not, by the end of their logical id.
	Parts map[string]Template
}

// Logical is a resource's id within a template: letters and digits, another for every ref.
func Logical(ref deploy.Ref) string {
	var b strings.Builder

	for part := range strings.SplitSeq(ref.Kind(), "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}

	if id := ref.ID(); id != "" {
		// Of ids, the hyphen must not vanish: "a-1" is not "a1". They have no capitals of their own.
		id = strings.ReplaceAll(id, "-", "Dash")
		b.WriteString(strings.ToUpper(id[:1]) + id[1:])
	}

	return b.String()
}

// Refer names another resource by its id, in a template: the one that the template makes, or the one that the owner named.
func (c *Call) Refer(ref deploy.Ref) any {
	if other := c.Others[ref]; other.ID != "" {
		return other.ID
	}

	return map[string]any{"Ref": Logical(ref)}
}

// Attribute is one of another resource that the same template makes.
func Attribute(ref deploy.Ref, attribute string) any {
	return map[string]any{"Fn::GetAtt": []string{Logical(ref), attribute}}
}

// TemplateTags are the owner's tags as most of CloudFormation wants them. Ours are left out: what carries them and stands in no record is an orphan.
func (c *Call) TemplateTags() []map[string]any { return tagList(c.Owner.Tags) }

// TemplateNameTags are those with the Name that EC2's console shows, which is the resource's ref unless the owner set one.
func (c *Call) TemplateNameTags() []map[string]any {
	tags := maps.Clone(c.Owner.Tags)
	if tags == nil {
		tags = map[string]string{}
	}

	if tags["Name"] == "" {
		tags["Name"] = c.Owner.Name + " " + string(c.Ref)
	}

	return tagList(tags)
}

// tagList writes tags as a list of keys and values, sorted by key.
func tagList(tags map[string]string) []map[string]any {
	list := []map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, map[string]any{"Key": k, "Value": tags[k]})
	}

	return list
}

// Free is something that AWS does not charge for.
func Free(c *Call, what, note string) deploy.CostLine {
	return deploy.CostLine{Resource: c.Ref, What: what, OneTime: deploy.Dollars(0), Monthly: deploy.Dollars(0), Note: note}
}

// Used is something that costs only while it is used; price is its name in the price list.
func Used(c *Call, what, price, note string) deploy.CostLine {
	line := Free(c, what, note)

	p, ok := c.Price(price)
	if !ok {
		line.Note = notPriced(c, note)

		return line
	}

	line.Price, line.Unit = deploy.Dollars(p.USD), p.Unit

	return line
}

// Unpriced is something that costs in any case and that the price list does not know.
func Unpriced(c *Call, what, note string) deploy.CostLine {
	return deploy.CostLine{Resource: c.Ref, What: what, OneTime: deploy.Dollars(0), Note: notPriced(c, note)}
}

func notPriced(c *Call, note string) string {
	return fmt.Sprintf("Not priced here: the price list has no figure for it in %s. %s", c.Owner.Region, note)
}

// Taken makes a warning of a refusal that says whose a name is (Foreign); any other error stays one.
func Taken(c *Call, err error) ([]deploy.Finding, error) {
	if e, ok := errors.AsType[*deploy.Error](err); ok && e.Class == deploy.Conflict {
		f := e.At(c.Pointer).Finding()
		f.Level = deploy.LevelWarning

		return []deploy.Finding{f}, nil
	}

	return nil, err
}
