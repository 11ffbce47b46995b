package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// ours tells whether tags are those of this installation.
func ours(tags map[string]string) bool { return tags[deploy.TagInstallation] == installation }

// violation notes that a law was broken. It may be called with the lock held by nobody but the caller's own fake or store.
func (w *World) violation(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// Violations lists the laws that were broken while the world ran.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.wrong)
}

// Cost is what happened so far.
func (w *World) Cost() Cost {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.cost
}

// published is the graph of phases as docs/events.md shows it: the ways that lead from each, the first from none.
var published = sync.OnceValues(func() (map[deploy.Phase][]deploy.Phase, error) { //nolint:gochecknoglobals // for 100,000 worlds
	text, err := os.ReadFile(filepath.Join(Root(), "docs", "events.md"))
	if err != nil {
		return nil, err
	}

	ways := map[deploy.Phase][]deploy.Phase{}

	for _, row := range regexp.MustCompile(`(?m)^\| (-|[A-Z_]+) \| ([A-Z_]+(?:, [A-Z_]+)*) \|$`).FindAllStringSubmatch(string(text), -1) {
		from := deploy.Phase(strings.Trim(row[1], "-"))
		for to := range strings.SplitSeq(row[2], ", ") {
			ways[from] = append(ways[from], deploy.Phase(to))
		}
	}

	return ways, nil
})

// moved holds each change of a phase against the published graph.
func (w *World) moved(key deploy.Key, from, to deploy.Phase) {
	ways, err := published()
	if err != nil || !slices.Contains(ways[from], to) {
		w.violation("%s went from phase %q to %q: %v", key.Name, from, to, err)
	}
}

// leaks looks for the planted secret.
func (w *World) leaks(where, text string) {
	if strings.Contains(text, Secret) {
		w.violation("a secret is in %s: %.300s", where, text)
	}
}

// order holds a removal against what is still there: Batch uses roles, profile, launch template and groups until its environments are gone, and jobs
// write to the bucket until then.
func (w *World) order(c awsfake.Call) {
	switch c.Operation {
	case "DeleteRole", "DeleteRolePolicy", "DetachRolePolicy", "DeleteInstanceProfile", "RemoveRoleFromInstanceProfile", "DeleteBucket", "DeleteObjects",
		"DeleteSecurityGroup", "DeleteVpcEndpoints":
	case "DeleteLaunchTemplate":
		// Each environment has a template of its own, and an update may take both away while others stay.
		in, ok := c.Input.(*ec2.DeleteLaunchTemplateInput)

		for id, text := range w.AWS.Settings() {
			if ok && strings.HasPrefix(id, "batch environment ") && strings.Contains(text, aws.ToString(in.LaunchTemplateId)) {
				w.violation("%s was called while %s used it", c.Operation, id)
			}
		}

		return
	default:
		return
	}

	for id, tags := range w.AWS.Inventory() {
		if ours(tags) && strings.HasPrefix(id, "batch ") {
			w.violation("%s was called while %s was there", c.Operation, id)
		}
	}
}

// doubled lists resources of which more than one thing carries the tags.
func (w *World) doubled() []string {
	seen := map[string]int{}

	for _, tags := range w.AWS.Inventory() {
		if ref := tags[deploy.TagResource]; ref != "" && ours(tags) {
			seen[ref]++
		}
	}

	maps.DeleteFunc(seen, func(_ string, n int) bool { return n == 1 })

	return slices.Sorted(maps.Keys(seen))
}

// left lists what of this installation is there, and what carries nobody's tags and was not there before: a half-made orphan.
func (w *World) left(before map[string]map[string]string) []string {
	var ids []string

	for id := range w.AWS.Inventory() {
		if _, old := before[id]; !old && !strings.Contains(id, "aws-service-role") {
			ids = append(ids, id)
		}
	}

	slices.Sort(ids)

	return ids
}

// plant puts things of others into the account, some of them looking much like ours, and returns their settings.
func (w *World) plant(ctx context.Context, owner deploy.Owner) (map[string]string, error) {
	owner.Installation = "somebody-elses"

	tags := func(ref deploy.Ref, of types.ResourceType) []types.TagSpecification {
		spec := types.TagSpecification{ResourceType: of}
		for k, v := range owner.TagsFor(ref) {
			spec.Tags = append(spec.Tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
		}

		return []types.TagSpecification{spec}
	}

	vpc, err := w.AWS.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.20.0.0/16"), TagSpecifications: tags("vpc", types.ResourceTypeVpc)})
	if err != nil {
		return nil, err
	}

	if _, err := w.AWS.EC2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{
		TagSpecifications: tags("internet-gateway", types.ResourceTypeInternetGateway),
	}); err != nil {
		return nil, err
	}

	if _, err := w.AWS.EC2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("theirs"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: aws.String("ami-1")},
	}); err != nil {
		return nil, err
	}

	w.AWS.S3.Put("theirs", w.AWS.Account, w.AWS.Region, owner.TagsFor("bucket"))

	if _, err := w.AWS.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String("theirs"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"batch.amazonaws.com"},"Action":"sts:AssumeRole"}]}`),
	}); err != nil {
		return nil, err
	}

	role := "arn:" + w.AWS.Partition + ":iam::" + w.AWS.Account + ":role/theirs"

	if _, err := w.AWS.Batch.CreateComputeEnvironment(ctx, &batch.CreateComputeEnvironmentInput{
		ComputeEnvironmentName: aws.String("theirs"), Type: batchtypes.CETypeUnmanaged, ServiceRole: aws.String(role), Tags: owner.TagsFor("compute-environment/cpu"),
	}); err != nil {
		return nil, err
	}

	_ = vpc

	return w.AWS.Settings(), nil
}

// unplanted says what became of the things of others.
func (w *World) unplanted(before map[string]string) string {
	after := w.AWS.Settings()

	for _, id := range slices.Sorted(maps.Keys(before)) {
		if before[id] != after[id] {
			return fmt.Sprintf("%s was %s\nand is  %s", id, before[id], after[id])
		}
	}

	return ""
}

// generated matches AWS's own ids.
var generated = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`([a-zA-Z]+)-[0-9a-f]{17}`) }) //nolint:gochecknoglobals // for 100,000 worlds

// end is the end of an operation as the record and AWS show it, with AWS's own ids replaced by what they stand for: the same for every world in which the
// same was asked for.
func (w *World) end(record *store.Record, foreign map[string]string) string {
	var lines []string

	names := map[string]string{}

	for id, tags := range w.AWS.Inventory() {
		if ref := tags[deploy.TagResource]; ref != "" && ours(tags) {
			names[id[strings.LastIndex(id, " ")+1:]] = "<" + ref + ">"
		}
	}

	ids := generated()
	plain := func(text string) string {
		return ids.ReplaceAllStringFunc(text, func(id string) string {
			if name := names[id]; name != "" {
				return name
			}

			return id[:strings.LastIndex(id, "-")]
		})
	}

	for id, text := range w.AWS.Settings() {
		if _, theirs := foreign[id]; !theirs && !strings.Contains(id, "aws-service-role") {
			// What stands in a map under an id of AWS's stands there in any order.
			words := strings.FieldsFunc(plain(id+" "+text), func(r rune) bool { return strings.ContainsRune(" {}[]", r) })
			words = slices.DeleteFunc(words, func(word string) bool { return strings.Contains(word, touched) })
			slices.Sort(words)
			lines = append(lines, id[:strings.Index(id, " ")]+" "+strings.Join(words, " "))
		}
	}

	for _, r := range record.Resources {
		shown := deploy.Resource{Ref: r.Ref, Origin: r.Origin, Generation: r.Generation, Needs: r.Needs, Kept: r.Kept, ID: r.ID, ARN: r.ARN, Outputs: r.Outputs}
		if r.Ensure != nil {
			shown.Ensure = &deploy.Step{State: r.Ensure.State}
		}

		text, err := json.Marshal(shown)
		if err != nil {
			text = []byte(err.Error())
		}

		lines = append(lines, plain(string(text)))
	}

	slices.Sort(lines)

	return string(record.Deployment.Phase) + "\n" + strings.Join(lines, "\n")
}
