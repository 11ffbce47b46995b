// Package awserr turns what AWS answers into the classes of the product. It is the only place that knows AWS's error codes in general; a kind adds only
// what is peculiar to its own calls.
//
// Codes are overloaded, so the message counts as well: Batch's ClientException and EC2's InvalidParameterValue mean anything from "gone" to "wait".
package awserr

import (
	"context"
	"errors"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// rule matches an error by its code and, where given, a part of its message. A code that starts or ends with * matches the rest.
type rule struct {
	code    string
	message string
	class   deploy.Class
}

// rules are tried in order; the first match decides. Messages stand before bare codes.
//
// Sources: the service API references ("Common errors" and each operation's errors), the EC2 user guide's "Error codes for the Amazon EC2 API", and what
// the Terraform AWS provider retries in internal/service/{ec2,iam,batch,s3}.
var rules = []rule{ //nolint:gochecknoglobals // a table
	// Gone.
	{"NoSuchEntity*", "", deploy.Gone},
	{"NoSuchBucket", "", deploy.Gone},
	{"NoSuchKey", "", deploy.Gone},
	{"NotFound", "", deploy.Gone}, // HeadBucket has no body, hence no better code
	{"Gateway.NotAttached", "", deploy.Gone},
	{"NatGatewayNotFound", "", deploy.Gone},
	{"InvalidLaunchTemplateName.NotFoundException", "", deploy.Gone},
	{"ClientException", "does not exist", deploy.Gone},
	{"ClientException", "not found", deploy.Gone},
	// Wait.
	{"ClientException", "resource is being modified", deploy.NotReady},
	{"ClientException", "found existing JobQueue relationship", deploy.NotReady},
	{"ClientException", "is not in VALID state", deploy.NotReady}, // an environment that somebody else updates, of a queue that is being made
	{"ClientException", "Too Many Requests", deploy.Throttled},
	{"ClientException", "limit", deploy.Quota},
	{"ClientException", "already exists", deploy.Conflict},
	{"ClientException", "is not authorized", deploy.Denied},
	{"ClientException", "", deploy.Invalid},
	{"ServerException", "", deploy.Transient},
	{"DependencyViolation", "", deploy.NotReady},
	{"IncorrectState", "", deploy.NotReady},
	{"IncorrectInstanceState", "", deploy.NotReady},
	{"DeleteConflict", "", deploy.NotReady},
	{"ConcurrentModification*", "", deploy.NotReady},
	{"EntityTemporarilyUnmodifiable", "", deploy.NotReady},
	{"OperationAborted", "", deploy.NotReady},
	{"BucketNotEmpty", "", deploy.NotReady},
	{"MalformedPolicyDocument", "Invalid principal", deploy.NotReady},
	{"MalformedPolicy", "Invalid principal", deploy.NotReady},
	// Throttled.
	{"RequestLimitExceeded", "", deploy.Throttled},
	{"Throttling*", "", deploy.Throttled},
	{"*ThrottlingException", "", deploy.Throttled},
	{"ThrottledException", "", deploy.Throttled},
	{"TooManyRequestsException", "", deploy.Throttled},
	{"ProvisionedThroughputExceededException", "", deploy.Throttled},
	{"RequestThrottled*", "", deploy.Throttled},
	{"SlowDown", "", deploy.Throttled},
	{"EC2ThrottledException", "", deploy.Throttled},
	{"BandwidthLimitExceeded", "", deploy.Throttled},
	// Transient.
	{"InternalError", "", deploy.Transient},
	{"InternalFailure", "", deploy.Transient},
	{"InternalServerError", "", deploy.Transient},
	{"ServiceFailure", "", deploy.Transient},
	{"ServiceUnavailable*", "", deploy.Transient},
	{"Unavailable", "", deploy.Transient},
	{"RequestTimeout*", "", deploy.Transient},
	{"TransactionInProgressException", "", deploy.Transient},
	{"TransactionConflictException", "", deploy.Transient},
	{"TransactionCanceledException", "", deploy.Transient}, // a lost condition never gets here: store/dynamo answers ErrStale
	// Conflict.
	{"BucketAlreadyExists", "", deploy.Conflict},
	{"BucketAlreadyOwnedByYou", "", deploy.Conflict},
	{"EntityAlreadyExists", "", deploy.Conflict},
	{"*AlreadyExists*", "", deploy.Conflict},
	{"*.Duplicate", "", deploy.Conflict},
	{"Resource.AlreadyAssociated", "", deploy.Conflict},
	{"ResourceInUseException", "", deploy.Conflict},
	// Denied.
	{"AccessDenied*", "", deploy.Denied},
	{"UnauthorizedOperation", "", deploy.Denied},
	{"AuthFailure*", "", deploy.Denied},
	{"UnrecognizedClientException", "", deploy.Denied},
	{"ExpiredToken*", "", deploy.Transient}, // the next invocation has others
	{"InvalidClientTokenId", "", deploy.Denied},
	{"OptInRequired", "", deploy.Denied},
	{"Forbidden", "", deploy.Denied},
	{"UnmodifiableEntity", "", deploy.Denied},
	// Capacity and quota.
	{"InsufficientInstanceCapacity", "", deploy.Capacity},
	{"Insufficient*Capacity*", "", deploy.Capacity},
	{"NotAvailableInZone", "", deploy.Capacity},
	{"*LimitExceeded*", "", deploy.Quota},
	{"*QuotaExceeded*", "", deploy.Quota},
	{"TooManyBuckets", "", deploy.Quota},
	// Invalid.
	{"Malformed*", "", deploy.Invalid},
	{"Validation*", "", deploy.Invalid},
	{"MissingParameter", "", deploy.Invalid},
	{"Unsupported*", "", deploy.Invalid},
	{"*NotFoundException", "", deploy.Gone},
}

// invalidRules hold for codes that start with "Invalid", which EC2, IAM, S3 and Batch use for nearly everything.
var invalidRules = []rule{ //nolint:gochecknoglobals // a table
	{"InvalidClientTokenId", "", deploy.Denied},
	{"InvalidGroup.InUse", "", deploy.NotReady},
	{"InvalidIPAddress.InUse", "", deploy.NotReady},
	{"Invalid*.NotFound*", "", deploy.Gone},
	{"Invalid*NotFound", "", deploy.Gone},
	{"Invalid*AlreadyExists*", "", deploy.Conflict},
	{"Invalid*.Duplicate", "", deploy.Conflict},
	{"InvalidVpcState", "", deploy.NotReady},
	{"InvalidSubnet.Conflict", "", deploy.Conflict},
	{"InvalidBucketState", "", deploy.Conflict},
	{"InvalidInput", "has been taken in this account", deploy.Conflict},
	{"InvalidParameterValue", "Invalid IAM Instance Profile name", deploy.NotReady},
	{"Invalid*", "", deploy.Invalid},
}

// Classify puts any error that came out of an SDK call into a class. A *deploy.Error in the chain is returned as it is. What carries no AWS answer (the
// connection broke, the deadline passed) is Transient: the call may or may not have taken effect.
func Classify(err error) *deploy.Error {
	if err == nil {
		return nil
	}

	if e, ok := errors.AsType[*deploy.Error](err); ok {
		return e
	}

	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return unanswered(err)
	}

	class := match(api)
	if class == "" {
		class = unlisted(err, api)
	}

	e := deploy.Errorf(class, "aws_"+string(class), "%w", err)
	e.Message = deploy.Scrub(call(err) + api.ErrorCode() + ": " + api.ErrorMessage())
	e.AWSCode = api.ErrorCode()
	e.Remedy = remedy(class)

	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		e.RequestID = r.ServiceRequestID()
	}

	return e
}

// Is tells whether an error is of a class.
func Is(err error, class deploy.Class) bool {
	return err != nil && Classify(err).Class == class
}

// Gone tells whether AWS says that the thing is not there.
func Gone(err error) bool { return Is(err, deploy.Gone) }

// IgnoreGone takes "not found" for "not visible yet" after a create and for "gone" after a delete; the next look tells.
func IgnoreGone(err error) error {
	if Gone(err) {
		return nil
	}

	return err
}

// Code is AWS's own error code, or empty.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}

	return ""
}

func unanswered(err error) *deploy.Error {
	e := deploy.Errorf(deploy.Transient, "aws_unanswered", "%w", err)
	e.Message = "AWS did not answer."

	if errors.Is(err, context.DeadlineExceeded) {
		e.Message = "AWS did not answer in time."
	}

	e.Message = call(err) + e.Message
	e.Remedy = remedy(deploy.Transient)

	return e
}

// call names the call that failed, as in "Batch CreateJobQueue: ".
func call(err error) string {
	if op, ok := errors.AsType[*smithy.OperationError](err); ok {
		return op.Service() + " " + op.Operation() + ": "
	}

	return ""
}

// match finds the class of an error in the tables; empty if it is in none.
func match(api smithy.APIError) deploy.Class {
	code, message := api.ErrorCode(), api.ErrorMessage()

	list := rules
	if strings.HasPrefix(code, "Invalid") {
		list = invalidRules
	}

	for _, r := range list {
		if glob(r.code, code) && strings.Contains(strings.ToLower(message), strings.ToLower(r.message)) {
			return r.class
		}
	}

	return ""
}

// unlisted is the class of a code that is in no table: the SDK knows whose fault it is for some, and the status tells for the others.
func unlisted(err error, api smithy.APIError) deploy.Class {
	if r, ok := errors.AsType[*awshttp.ResponseError](err); api.ErrorFault() == smithy.FaultServer || ok && r.HTTPStatusCode() >= http.StatusInternalServerError {
		return deploy.Transient
	}

	return deploy.Invalid
}

// glob matches with * for any run of characters.
func glob(pattern, s string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == s
	}

	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}

	s = s[len(parts[0]):]

	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}

		s = s[i+len(p):]
	}

	return strings.HasSuffix(s, parts[len(parts)-1])
}

func remedy(class deploy.Class) string {
	switch class {
	case deploy.Throttled:
		return "AWS limits the rate of its API; the step retries by itself. If it gave up, try again when fewer deployments are under way."
	case deploy.Transient, deploy.NotReady:
		return "The step retries by itself. If it gave up, look at the AWS Health Dashboard and try again."
	case deploy.Conflict:
		return "Something of that name exists already. Remove it or choose another name for the deployment."
	case deploy.Denied:
		return "Ask the account's administrator whether a service control policy or the installation's permissions forbid this call."
	case deploy.Quota:
		return "Request an increase of the quota in Service Quotas, or delete something that counts against it, and try again."
	case deploy.Capacity:
		return "Try again later, or allow more instance types or zones."
	case deploy.Invalid:
		return "Change the spec; the same request will fail again."
	case deploy.Gone:
		return "Something it needs was removed. Create the deployment again."
	case deploy.Internal:
		return "Give the operator the request id."
	}

	return ""
}
