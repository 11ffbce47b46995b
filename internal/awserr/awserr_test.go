package awserr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// TestClassify holds what AWS answers, code and message, and what it means.
func TestClassify(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason, code, message string
		want                  deploy.Class
	}{
		"RoleGone":        {"IAM's way", "NoSuchEntity", "The role with name x cannot be found.", deploy.Gone},
		"VpcGone":         {"EC2 has a code for each sort of thing", "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist", deploy.Gone},
		"GroupGone":       {"irregular", "InvalidGroup.NotFound", "", deploy.Gone},
		"TemplateGone":    {"irregular", "InvalidLaunchTemplateName.NotFoundException", "", deploy.Gone},
		"EndpointGone":    {"irregular", "InvalidVpcEndpointId.NotFound", "", deploy.Gone},
		"GatewayDetached": {"a detach that happened already", "Gateway.NotAttached", "", deploy.Gone},
		"BucketGone":      {"HeadBucket has no body, hence no better code", "NotFound", "", deploy.Gone},
		"QueueGone":       {"Batch says ClientException for everything; the message decides", "ClientException", "jobQueue x does not exist", deploy.Gone},

		"BeingModified": {"Batch allows one change at a time", "ClientException", "Cannot update, resource is being modified.", deploy.NotReady},
		"QueueUsesIt":   {"Batch's order of removal", "ClientException", "Cannot delete, found existing JobQueue relationship", deploy.NotReady},
		"Dependency":    {"network interfaces linger", "DependencyViolation", "resource sg-1 has a dependent object", deploy.NotReady},
		"GroupInUse":    {"network interfaces linger", "InvalidGroup.InUse", "", deploy.NotReady},
		"NotValid":      {"somebody updates the environment of a new queue", "ClientException", "arn:aws:batch:us-east-1:1:compute-environment/x - is not in VALID state", deploy.NotReady},
		"RoleInUse":     {"policies that a list did not show yet", "DeleteConflict", "", deploy.NotReady},
		"Principal":     {"a role that is too young to be named in a policy", "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn"`, deploy.NotReady},
		"Profile":       {"a profile that is too young for EC2", "InvalidParameterValue", "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", deploy.NotReady},
		"Aborted":       {"two writes of one bucket's configuration", "OperationAborted", "A conflicting conditional operation is currently in progress", deploy.NotReady},
		"NotEmpty":      {"somebody wrote meanwhile", "BucketNotEmpty", "", deploy.NotReady},

		"EC2Throttle":   {"EC2's spelling", "RequestLimitExceeded", "Request limit exceeded.", deploy.Throttled},
		"IAMThrottle":   {"IAM's spelling", "Throttling", "Rate exceeded", deploy.Throttled},
		"OtherThrottle": {"the usual spelling", "ThrottlingException", "Rate exceeded", deploy.Throttled},
		"BatchThrottle": {"Batch's spelling", "TooManyRequestsException", "Too Many Requests", deploy.Throttled},
		"BatchMessage":  {"Batch's other spelling", "ClientException", "Too Many Requests", deploy.Throttled},
		"S3Throttle":    {"S3's spelling", "SlowDown", "Please reduce your request rate.", deploy.Throttled},
		"TableThrottle": {"DynamoDB's spelling", "ProvisionedThroughputExceededException", "", deploy.Throttled},

		"Stumble":  {"the service stumbled", "InternalError", "", deploy.Transient},
		"BatchOut": {"Batch's stumble", "ServerException", "", deploy.Transient},

		"RoleExists":   {"a name that is taken", "EntityAlreadyExists", "", deploy.Conflict},
		"GroupExists":  {"a name that is taken", "InvalidGroup.Duplicate", "", deploy.Conflict},
		"BucketExists": {"the namespace is everybody's", "BucketAlreadyExists", "", deploy.Conflict},
		"BatchExists":  {"a name that is taken", "ClientException", "Object already exists", deploy.Conflict},
		"SubnetRange":  {"a range that is taken", "InvalidSubnet.Conflict", "", deploy.Conflict},

		"Denied":       {"IAM's spelling", "AccessDenied", "", deploy.Denied},
		"DeniedLong":   {"Batch's and others' spelling", "AccessDeniedException", "", deploy.Denied},
		"Unauthorized": {"EC2's spelling", "UnauthorizedOperation", "", deploy.Denied},
		"Token":        {"begins like an invalid value, and is none", "InvalidClientTokenId", "", deploy.Denied},
		"Expired":      {"credentials end, and the next invocation has others", "ExpiredTokenException", "", deploy.Transient},

		"VpcLimit":   {"a person must raise it", "VpcLimitExceeded", "The maximum number of VPCs has been reached.", deploy.Quota},
		"RoleLimit":  {"IAM's spelling", "LimitExceeded", "", deploy.Quota},
		"BatchLimit": {"Batch's spelling", "ClientException", "You have reached the limit of compute environments", deploy.Quota},
		"Capacity":   {"another time, or another zone", "InsufficientInstanceCapacity", "", deploy.Capacity},

		"Parameter":  {"the same request fails for ever", "InvalidParameterValue", "", deploy.Invalid},
		"Policy":     {"without a young principal it is just wrong", "MalformedPolicyDocument", "Syntax errors in policy.", deploy.Invalid},
		"BatchWrong": {"any other message of Batch", "ClientException", "minvCpus must be less than maxvCpus", deploy.Invalid},
		"Unheard":    {"a code that nobody has seen is not worth a retry", "Whatever", "", deploy.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			err := fmt.Errorf("do it: %w", &smithy.GenericAPIError{Code: c.code, Message: c.message})

			got := awserr.Classify(err)
			if got.Class != c.want || got.AWSCode != c.code {
				t.Errorf("%s: %s %q is %s, want %s", c.reason, c.code, c.message, got.Class, c.want)
			}

			if got.Remedy == "" {
				t.Errorf("%s: class %s tells nobody what to do", c.code, got.Class)
			}

			if !errors.Is(got, err) && !errors.Is(got, errors.Unwrap(err)) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestUnheardFaultOfTheServerIsTransient(t *testing.T) {
	t.Parallel()

	if got := awserr.Classify(&smithy.GenericAPIError{Code: "Whatever", Fault: smithy.FaultServer}).Class; got != deploy.Transient {
		t.Errorf("got %s", got)
	}
}

// TestUnlistedCodes: EC2 says of no error whose fault it is, so for a code that no table holds the status tells.
func TestUnlistedCodes(t *testing.T) {
	t.Parallel()

	for code, c := range map[string]struct {
		reason string
		status int
		class  deploy.Class
	}{
		"ServerInternal": {"EC2 stumbled", http.StatusInternalServerError, deploy.Transient},
		"BadGateway":     {"HeadBucket has no body, so its code is the status", http.StatusBadGateway, deploy.Transient},
		"NeverHeardOf":   {"the caller is to blame", http.StatusBadRequest, deploy.Invalid},
		"AccessDenied":   {"what is in a table stays what it is", http.StatusInternalServerError, deploy.Denied},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()

			err := &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
				Response: &smithyhttp.Response{Response: &http.Response{StatusCode: c.status}}, Err: &smithy.GenericAPIError{Code: code},
			}}
			if got := awserr.Classify(err).Class; got != c.class {
				t.Errorf("%s: %s, want %s", c.reason, got, c.class)
			}
		})
	}
}

func TestWithoutAnAnswer(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason string
		err    error
		want   string
	}{
		"Reset":    {"whether the call took effect is unknown", errors.New("connection reset by peer"), "AWS did not answer."},
		"Deadline": {"the same", context.DeadlineExceeded, "AWS did not answer in time."},
		"Call": {
			"the call is named, the address is not", &smithy.OperationError{ServiceID: "EC2", OperationName: "CreateVpc", Err: errors.New("dial tcp 10.0.0.1:443")},
			"EC2 CreateVpc: AWS did not answer.",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := awserr.Classify(fmt.Errorf("do it: %w", c.err))
			if got.Class != deploy.Transient || got.Message != c.want || got.Remedy == "" {
				t.Errorf("%s: got %s %q", c.reason, got.Class, got.Message)
			}
		})
	}
}

func TestOursIsLeftAsItIs(t *testing.T) {
	t.Parallel()

	ours := deploy.Errorf(deploy.Conflict, "not_ours", "A VPC: %w", &smithy.GenericAPIError{Code: "Throttling"})
	if got := awserr.Classify(fmt.Errorf("do it: %w", ours)); got != ours {
		t.Errorf("got %+v", got)
	}

	if awserr.Classify(nil) != nil || awserr.Is(nil, deploy.Gone) || awserr.Code(nil) != "" {
		t.Error("no error is no error")
	}
}

func TestRequestIDIsKeptAndTheMessageScrubbed(t *testing.T) {
	t.Parallel()

	err := &awshttp.ResponseError{
		RequestID: "r-1", ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusForbidden}},
			Err:      &smithy.GenericAPIError{Code: "AccessDenied", Message: "no\nway " + strings.Repeat("x", 3000)},
		},
	}

	got := awserr.Classify(err)
	if got.RequestID != "r-1" || len(got.Message) > 1024 || strings.Contains(got.Message, "\n") {
		t.Errorf("got %q, request %q", got.Message, got.RequestID)
	}
}

func TestIgnoreGone(t *testing.T) {
	t.Parallel()

	gone, other := &smithy.GenericAPIError{Code: "NoSuchEntity"}, &smithy.GenericAPIError{Code: "Throttling"}
	if awserr.IgnoreGone(gone) != nil || awserr.IgnoreGone(nil) != nil || !errors.Is(awserr.IgnoreGone(other), other) {
		t.Error("only what says that the thing is not there is ignored")
	}
}
