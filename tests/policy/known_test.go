package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metaflow-deployer/metaflow-deployer/tests/policy"
	"github.com/metaflow-deployer/metaflow-deployer/tests/simulation"
)

// TestTheTableKnowsEveryOperationThatTheCodeCanCall reads the narrow interfaces over the SDK's clients, and the calls on clients themselves.
func TestTheTableKnowsEveryOperationThatTheCodeCanCall(t *testing.T) {
	t.Parallel()

	called := map[string]bool{}

	for _, dir := range []string{"internal/kind", "internal/store/dynamo", "internal/awssfn", "internal/awsevents", "internal/awsconf", "functions"} {
		err := filepath.WalkDir(filepath.Join(simulation.Root(), dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "kindtest") {
				return err
			}

			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				return err
			}

			// A call of AWS is known by its input: package.OperationInput.
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}

				pkg, ok := s.X.(*ast.Ident)
				if operation, is := strings.CutSuffix(s.Sel.Name, "Input"); ok && is && operation != "" {
					called[pkg.Name+"."+operation] = true
				}

				return true
			})

			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	if len(called) < 60 {
		t.Fatalf("only %d operations were found: the search is broken", len(called))
	}

	var unknown []string

	for name := range called {
		if !slices.Contains(policy.Known(), name) {
			unknown = append(unknown, name)
		}
	}

	slices.Sort(unknown)

	if diff := cmp.Diff([]string(nil), unknown); diff != "" {
		t.Errorf("operations that the code can call and the table does not know:\n%s", diff)
	}
}

func TestAsksRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		call   policy.Call
	}{
		"operation":     {"an operation that is not in the table", policy.Call{Service: "ec2", Action: "RunInstances"}},
		"empty input":   {"an input in which nothing is named", policy.Call{Service: "ec2", Action: "DeleteVpc", Input: map[string]any{}}},
		"type of id":    {"an id of a type that is not known", policy.Call{Service: "ec2", Action: "DeleteVpc", Input: map[string]any{"VpcId": "eni-1"}}},
		"profile":       {"an instance profile that nobody put a role into", policy.Call{Service: "batch", Action: "CreateComputeEnvironment", Input: map[string]any{"computeEnvironmentName": "a", "computeResources": map[string]any{"instanceRole": "arn:aws:iam::1:instance-profile/x"}}}},
		"linked role":   {"a service-linked role whose name is not known", policy.Call{Service: "iam", Action: "CreateServiceLinkedRole", Input: map[string]any{"AWSServiceName": "rds.amazonaws.com"}}},
		"in an item":    {"a transaction with an unknown item", policy.Call{Service: "dynamodb", Action: "TransactWriteItems", Input: map[string]any{"TransactItems": []any{map[string]any{"Other": map[string]any{}}}}}},
		"launch config": {"a launch template that is not named", policy.Call{Service: "ec2", Action: "DeleteLaunchTemplate", Input: map[string]any{}}},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := policy.NewWorld(policy.Place{Partition: "aws", Region: region, Account: account}, nil, nil)
			if asks, err := w.Asks([]policy.Call{c.call}); err == nil {
				t.Errorf("%s: %v", c.reason, asks)
			}
		})
	}
}

func TestAsks(t *testing.T) {
	t.Parallel()

	const ec2 = "arn:aws:ec2:us-east-1:123456789012:"

	tags := []any{map[string]any{"ResourceType": "subnet", "Tags": []any{map[string]any{"Key": "k", "Value": "v"}}}}

	cases := map[string]struct {
		reason string
		call   policy.Call
		want   []string
	}{
		"subnet": {
			"a create is asked for on what it makes, on what it is made in, and for its tags",
			policy.Call{Service: "ec2", Action: "CreateSubnet", Input: map[string]any{"VpcId": "vpc-1", "TagSpecifications": tags}},
			[]string{"ec2:CreateSubnet " + ec2 + "subnet/*", "ec2:CreateTags " + ec2 + "subnet/*", "ec2:CreateSubnet " + ec2 + "vpc/vpc-1"},
		},
		"untagged": {
			"without tags nothing is asked of ec2:CreateTags",
			policy.Call{Service: "ec2", Action: "CreateInternetGateway", Input: map[string]any{}},
			[]string{"ec2:CreateInternetGateway " + ec2 + "internet-gateway/*"},
		},
		"attach": {
			"both ends of an attachment",
			policy.Call{Service: "ec2", Action: "AttachInternetGateway", Input: map[string]any{"InternetGatewayId": "igw-1", "VpcId": "vpc-1"}},
			[]string{"ec2:AttachInternetGateway " + ec2 + "internet-gateway/igw-1", "ec2:AttachInternetGateway " + ec2 + "vpc/vpc-1"},
		},
		"role that is not there": {
			"IAM cannot know the path of a role that does not exist",
			policy.Call{Service: "iam", Action: "DeleteRole", Input: map[string]any{"RoleName": "a"}},
			[]string{"iam:DeleteRole arn:aws:iam::123456789012:role/a"},
		},
		"objects": {
			"each key is asked for, a version as a version",
			policy.Call{Service: "s3", Action: "DeleteObjects", Input: map[string]any{"Bucket": "b", "Delete": map[string]any{
				"Objects": []any{map[string]any{"Key": "x"}, map[string]any{"Key": "y", "VersionId": "1"}},
			}}},
			[]string{"s3:DeleteObject arn:aws:s3:::b/x", "s3:DeleteObjectVersion arn:aws:s3:::b/y"},
		},
		"queue": {
			"a queue and the environments in its order, by name or ARN; the service's model writes members in lower case, the SDK for Go does not",
			policy.Call{Service: "batch", Action: "UpdateJobQueue", Input: map[string]any{"JobQueue": "q", "computeEnvironmentOrder": []any{
				map[string]any{"computeEnvironment": "arn:aws:batch:us-east-1:123456789012:compute-environment/e"},
			}}},
			[]string{
				"batch:UpdateJobQueue arn:aws:batch:us-east-1:123456789012:job-queue/q",
				"batch:UpdateJobQueue arn:aws:batch:us-east-1:123456789012:compute-environment/e",
			},
		},
		"index": {
			"a query of an index is asked for on the index",
			policy.Call{Service: "dynamodb", Action: "Query", Input: map[string]any{"TableName": "t", "IndexName": "i"}},
			[]string{"dynamodb:Query arn:aws:dynamodb:us-east-1:123456789012:table/t/index/i"},
		},
	}

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			asks, err := policy.NewWorld(policy.Place{Partition: "aws", Region: region, Account: account}, nil, nil).Asks([]policy.Call{c.call})
			if err != nil {
				t.Fatal(err)
			}

			var got []string
			for _, r := range asks[0].Requests {
				got = append(got, r.Action+" "+r.Resource)
			}

			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
