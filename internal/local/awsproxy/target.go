package awsproxy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// verbs are the first words of operation names that stand before the noun.
func verbs() []string {
	return []string{
		"Create", "Delete", "Describe", "Get", "Update", "Modify", "Put", "Attach", "Detach", "Associate", "Disassociate", "Tag", "Untag", "List", "Start", "Stop",
		"Allocate", "Release", "Register", "Deregister", "Submit", "Terminate", "Authorize", "Revoke", "Add", "Remove", "Replace", "Head", "Batch",
	}
}

func nounOf(action string) string {
	for _, verb := range verbs() {
		if noun, ok := strings.CutPrefix(action, verb); ok {
			return noun
		}
	}

	return action
}

// preferred are members that name what a call acts on, before the noun of the operation is looked for: PutRolePolicy acts on a role.
func preferred() []string {
	return []string{
		"InstanceProfileName", "RoleName", "AWSServiceName", "PolicyArn", "TableName", "FunctionName", "executionArn", "stateMachineArn", "resourceArn",
		"ResourceArn", "Resources", "GroupId", "GroupIds", "QuotaCode", "AssociationId", "VpcEndpointId", "VpcEndpointIds", "LaunchTemplateId", "LaunchTemplateName", "NatGatewayId",
		"AllocationId", "InternetGatewayId", "RouteTableId", "SubnetId", "VpcId",
	}
}

// target is the name or id of what a call acts on. a is nil before there is an answer.
func target(c *call, a *answer) string {
	if c.op == nil {
		return ""
	}

	if id := created(c, a); id != "" {
		return id
	}

	if c.service == "s3" {
		bucket, key := c.text("Bucket"), c.text("Key")
		if key == "" {
			return bucket
		}

		return bucket + "/" + key
	}

	noun := nounOf(c.action)
	small := lowerFirst(noun)

	plural := strings.TrimSuffix(noun, "s")
	for _, name := range []string{
		small, small + "Name", small + "Arn", small + "Id", noun + "Id", noun + "Name", noun + "Ids", noun + "Names", noun, plural + "Ids", plural + "Names",
		plural + "Id", lowerFirst(plural) + "s", "name",
	} {
		// A group is named by its id where both are given, and CreateX has only the name.
		if s := joined(c.input[name]); s != "" {
			return s
		}
	}

	for _, name := range preferred() {
		if s := joined(c.input[name]); s != "" {
			return s
		}
	}

	if c.service == "dynamodb" {
		_, name, _ := strings.Cut(strings.Join(dynamoTables(c), ","), "table/")

		return name
	}

	return ""
}

// joined gives text as it is, and a list of text with commas.
func joined(v any) string {
	if s, ok := v.(string); ok {
		return s
	}

	return strings.Join(texts(v), ",")
}

func lowerFirst(s string) string {
	if s == "" {
		return ""
	}

	return strings.ToLower(s[:1]) + s[1:]
}

// created finds the id that AWS gave to what a call of EC2 made.
func created(c *call, a *answer) string {
	if c.service != "ec2" || a == nil || !a.ok() || (!strings.HasPrefix(c.action, "Create") && c.action != "AllocateAddress") {
		return ""
	}

	root, err := awsmodel.ParseXML(a.body)
	if err != nil {
		return ""
	}

	noun := lowerFirst(nounOf(c.action))

	id := cmp.Or(
		root.ChildText(noun, noun+"Id"), root.ChildText(noun+"Id"), root.ChildText("groupId"), root.ChildText("allocationId"),
	)

	return id
}

// resources gives the ARNs of what a call acts on, as IAM policies would name them, as far as the call tells. Roles and profiles are given with the path they
// were created with through this endpoint.
func resources(c *call, a *answer) []string {
	if c.op == nil {
		return nil
	}

	switch c.service {
	case "s3":
		if name := target(c, a); name != "" {
			return []string{"arn:aws:s3:::" + name}
		}
	case "iam":
		return iamResources(c)
	case "ec2":
		return ec2Resources(c, a)
	case "batch":
		return batchResources(c)
	case "dynamodb":
		return dynamoResources(c)
	default:
		return arnsIn(c.input)
	}

	return nil
}

func iamResources(c *call) []string {
	if arn := c.text("PolicyArn"); arn != "" && c.text("RoleName") == "" {
		return []string{arn}
	}

	var out []string

	for _, kind := range []struct{ member, noun string }{{"InstanceProfileName", "instance-profile"}, {"RoleName", "role"}} {
		name := c.text(kind.member)
		if name == "" || (kind.noun == "role" && len(out) > 0) {
			continue // AddRoleToInstanceProfile is judged on the profile
		}

		out = append(out, fmt.Sprintf("arn:aws:iam::%s:%s%s%s", c.account, kind.noun, c.world.path(kind.noun, name, c.text("Path")), name))
	}

	return out
}

func ec2Resources(c *call, a *answer) []string {
	var ids []string

	if id := created(c, a); id != "" {
		ids = append(ids, id)
	}

	collectIDs(c.input, &ids)
	slices.Sort(ids)

	var out []string

	for _, id := range slices.Compact(ids) {
		if noun := ec2Noun(id); noun != "" {
			out = append(out, fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", c.region, c.account, noun, id))
		}
	}

	return out
}

func collectIDs(v any, ids *[]string) {
	switch v := v.(type) {
	case string:
		if ec2Noun(v) != "" {
			*ids = append(*ids, v)
		}
	case []any:
		for _, item := range v {
			collectIDs(item, ids)
		}
	case map[string]any:
		for _, item := range v {
			collectIDs(item, ids)
		}
	}
}

// ec2Noun tells from an id what it is the id of, in the spelling of ARNs and tag specifications; empty for what is no id.
func ec2Noun(id string) string {
	prefix, hex, ok := cutLast(id, "-")
	if !ok || len(hex) < 8 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}

	return map[string]string{
		"vpc": "vpc", "subnet": "subnet", "igw": "internet-gateway", "rtb": "route-table", "sg": "security-group", "sgr": "security-group-rule",
		"vpce": "vpc-endpoint", "nat": "natgateway", "eipalloc": "elastic-ip", "eni": "network-interface", "lt": "launch-template", "i": "instance",
		"acl": "network-acl",
	}[prefix]
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}

	return s[:i], s[i+len(sep):], true
}

func batchResources(c *call) []string {
	if arns := arnsIn(map[string]any{"r": c.input["resourceArn"]}); len(arns) > 0 {
		return arns
	}

	var out []string

	for _, kind := range []struct{ member, noun string }{
		{"computeEnvironmentName", "compute-environment"},
		{"computeEnvironment", "compute-environment"},
		{"jobQueueName", "job-queue"},
		{"jobQueue", "job-queue"},
		{"computeEnvironments", "compute-environment"},
		{"jobQueues", "job-queue"},
		{"jobDefinition", "job-definition"},
		{"jobDefinitionName", "job-definition"},
	} {
		for name := range strings.SplitSeq(joined(c.input[kind.member]), ",") {
			switch {
			case name == "":
			case strings.HasPrefix(name, "arn:"):
				out = append(out, name)
			default:
				out = append(out, fmt.Sprintf("arn:aws:batch:%s:%s:%s/%s", c.region, c.account, kind.noun, name))
			}
		}
	}

	return out
}

func dynamoResources(c *call) []string {
	name := c.text("TableName")
	if name == "" {
		return dynamoTables(c)
	}

	arn := fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", c.region, c.account, name)
	if index := c.text("IndexName"); index != "" {
		arn += "/index/" + index
	}

	return []string{arn}
}

// dynamoTables finds the tables of a transaction.
func dynamoTables(c *call) []string {
	var items []map[string]struct{ TableName string }
	if json.Unmarshal(mustJSON(c.input["TransactItems"]), &items) != nil {
		return nil
	}

	var out []string

	for _, item := range items {
		for _, act := range item {
			out = append(out, fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", c.region, c.account, act.TableName))
		}
	}

	slices.Sort(out)

	return slices.Compact(out)
}

func arnsIn(v any) []string {
	var out []string

	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "arn:") {
			out = append(out, v)
		}
	case []any:
		for _, item := range v {
			out = append(out, arnsIn(item)...)
		}
	case map[string]any:
		for _, item := range v {
			out = append(out, arnsIn(item)...)
		}
	}

	slices.Sort(out)

	return slices.Compact(out)
}
