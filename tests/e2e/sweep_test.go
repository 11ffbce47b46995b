package e2e

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local"
)

// orphan is what the API says of a thing that no record knows.
type orphan struct {
	Resource, Kind, ID, Tenant, Deployment, State, Reason string
}

// sweep asks a worker function for its sweep, as the schedule does. https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html.
func (w *world) sweep(family string) {
	w.Helper()

	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.stack.Endpoint+"/2015-03-31/functions/"+family+"/invocations",
		bytes.NewReader([]byte(`{"verb": "sweep"}`)))
	if err != nil {
		w.Fatal(err)
	}

	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+w.AccessKey()+"/20260101/"+local.Region+"/lambda/aws4_request, SignedHeaders=host, Signature=0")

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()

	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("X-Amz-Function-Error") != "" {
		w.Fatalf("sweep %s: %s %s %v", family, res.Status, body, err)
	}
}

// TestSweep plants things that say to be a deployment's that nobody knows, beside a deployment that stands.
func TestSweep(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.active("research", nil)

	vpc := must[*ec2.DescribeVpcsOutput](w)(w.aws.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{find(w, "research", "vpc").ID}})).Vpcs[0]
	ours := vpc.Tags[slices.IndexFunc(vpc.Tags, func(t ec2types.Tag) bool { return *t.Key == "metaflow-deployer:installation" })].Value

	want := []string{"bucket lost-abcdefgh-metaflow HELD", "job-role lost-abcdefgh-job NOTED", "vpc " + w.plant(*ours, "lost-abcdefgh") + " NOTED"}
	w.plant("another", "lost-bcdefghi")

	before := w.inventory()

	for range 2 {
		for _, family := range []string{"s3", "iam", "ec2", "batch"} {
			w.sweep(family)
		}
	}

	w.same("sweeps of an orphan's first hour", before, w.inventory())

	if a := w.ask(request{method: "GET", path: "/v1/orphans"}); a.status != http.StatusForbidden {
		t.Errorf("orphans are an admin's to see: %d %s", a.status, a.body)
	}

	var err error
	if w.token, err = w.stack.Token("operations", "admin"); err != nil {
		t.Fatal(err)
	}

	var got []string

	for _, o := range as[struct{ Orphans []orphan }](w, w.ask(request{method: "GET", path: "/v1/orphans"}), http.StatusOK).Orphans {
		got = append(got, o.Resource+" "+o.ID+" "+o.State)

		if o.Deployment != "lost" || o.Tenant != "research" || o.Reason == "" {
			t.Errorf("whose it is, and why it stands there: %s", show(o))
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was planted and nothing else (-want +got):\n%s", diff)
	}
}

// plant makes a VPC, a role and a bucket of a deployment "lost" of an installation, and answers the VPC's id.
func (w *world) plant(installation, stem string) string {
	w.Helper()

	pairs := func(ref string) map[string]string {
		return map[string]string{
			"metaflow-deployer:installation": installation, "metaflow-deployer:tenant": "research", "metaflow-deployer:deployment": "lost",
			"metaflow-deployer:resource": ref,
		}
	}

	network, role, bucket := []ec2types.Tag{}, []iamtypes.Tag{}, []s3types.Tag{}

	for k, v := range pairs("vpc") {
		network = append(network, ec2types.Tag{Key: &k, Value: &v})
	}

	for k, v := range pairs("job-role") {
		role = append(role, iamtypes.Tag{Key: &k, Value: &v})
	}

	for k, v := range pairs("bucket") {
		bucket = append(bucket, s3types.Tag{Key: &k, Value: &v})
	}

	must[*iam.CreateRoleOutput](w)(w.aws.iam.CreateRole(w.Context(), &iam.CreateRoleInput{
		RoleName: aws.String(stem + "-job"), Path: aws.String("/metaflow-deployer/" + installation + "/"), Tags: role,
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
	}))

	w.makeBucket(stem + "-metaflow")
	must[*s3.PutBucketTaggingOutput](w)(w.aws.s3.PutBucketTagging(w.Context(), &s3.PutBucketTaggingInput{
		Bucket: aws.String(stem + "-metaflow"), Tagging: &s3types.Tagging{TagSet: bucket},
	}))

	return *must[*ec2.CreateVpcOutput](w)(w.aws.ec2.CreateVpc(w.Context(), &ec2.CreateVpcInput{
		CidrBlock:         aws.String("10.99.0.0/16"),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeVpc, Tags: network}},
	})).Vpc.VpcId
}
