package httpapi

import (
	"sync"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// typeOf is the URI of a problem type: relative, so that it leads to the page of the very API that answered. The fragment is stable.
func typeOf(code string) string { return "/docs#problem-" + code }

// entry is a problem type as the page lists it.
type entry struct{ Code, Title string }

// catalogue lists the problems that the API, the workflow and the kinds answer, and those that stand for AWS's own errors, by class. A test finds those that
// are missing.
func catalogue() []entry {
	return []entry{
		{"abandoned", "The operation was given up"},
		{"already_exists", "The name is taken"},
		{"aws_capacity", "AWS has no capacity"},
		{"aws_conflict", "AWS says that something is in the way"},
		{"aws_denied", "AWS does not allow it"},
		{"aws_gone", "AWS says that it is not there"},
		{"aws_internal", "AWS answered what nobody foresaw"},
		{"aws_invalid", "AWS says that it cannot be as asked"},
		{"aws_not_ready", "AWS is not ready yet"},
		{"aws_quota", "A limit of the account is reached"},
		{"aws_throttled", "AWS asked to slow down"},
		{"aws_transient", "AWS stumbled"},
		{"aws_unanswered", "AWS's answer was lost"},
		{"bad_page_token", "The page token does not fit"},
		{"body_too_large", "The body is too large"},
		{"busy", "The deployment is changing"},
		{"cancelled", "Somebody cancelled the operation"},
		{"cannot_change", "It cannot be changed in this way"},
		{"cannot_change_in_place", "AWS cannot change it in place"},
		{"compute_environment_invalid", "AWS Batch finds the compute environment invalid"},
		{"compute_environment_stuck", "AWS Batch cannot delete the compute environment"},
		{"conflicting_members", "Two members exclude each other"},
		{"data_stays_behind", "Data stays where it was"},
		{"deadline_exceeded", "It took too long"},
		{"duplicate", "The same thing twice"},
		{"endpoint_failed", "The endpoint failed"},
		{"existing_belongs_to_deployment", "The existing thing is another deployment's"},
		{"existing_not_allowed", "The existing thing is not yours to use"},
		{"existing_not_found", "The existing thing is not there"},
		{"existing_unusable", "The existing thing cannot be used"},
		{"idempotency_key_reused", "The Idempotency-Key belongs to another request"},
		{"internal", "An error of the service"},
		{"invalid_arn", "Not the right kind of ARN"},
		{"invalid_bucket", "Not a bucket's name"},
		{"invalid_cidr", "Not a usable address range"},
		{"invalid_filter", "The filter cannot be read"},
		{"invalid_grant", "The grant cannot be used"},
		{"invalid_id", "Not the id of such a thing"},
		{"invalid_idempotency_key", "The Idempotency-Key cannot be used"},
		{"invalid_instance_type", "Not an instance type"},
		{"invalid_json", "The body cannot be read"},
		{"invalid_label", "The label cannot be used"},
		{"invalid_name", "The name cannot be used"},
		{"invalid_parameter", "The parameter cannot be read"},
		{"invalid_prefix", "The prefix cannot be used"},
		{"invalid_tag", "The tag cannot be used"},
		{"invalid_ttl", "The time to live cannot be used"},
		{"invalid_url", "The URL cannot be called"},
		{"invalid_value", "The value does not fit"},
		{"invalid_vcpus", "More vCPUs at least than at most"},
		{"invalid_zones", "The zones cannot be used"},
		{"job_queue_invalid", "AWS Batch finds the job queue invalid"},
		{"left_as_it_is", "Somebody left it as it is"},
		{"left_behind", "Somebody left it behind"},
		{"method_not_allowed", "The path does not take this method"},
		{"missing_member", "A member is missing"},
		{"missing_parameter", "A parameter is missing"},
		{"mixed_architectures", "Processor architectures are mixed"},
		{"no_instance_type", "The Region offers no default instance type"},
		{"no_outcome", "Nobody recorded how a step ended"},
		{"no_principal", "The credentials name no tenant and role"},
		{"no_such_route", "There is no such path"},
		{"not_active", "The deployment is not active"},
		{"not_cancellable", "This cannot be cancelled"},
		{"not_found", "There is no such thing"},
		{"not_in_spec", "The spec has no such thing"},
		{"not_offered", "Not on offer"},
		{deploy.CodeNotOfferedYet, "Not offered yet"},
		{"not_ours", "A thing of that name is somebody else's"},
		{"nothing_to_skip", "There is nothing to skip"},
		{"objects_protected", "S3 refuses to delete objects"},
		{"operation_done", "The operation has ended"},
		{"operation_in_progress", "Another operation runs"},
		{"overlapping_prefixes", "One prefix contains the other"},
		{"permission_missing", "The service lacks a permission"},
		{"permissions_not_checked", "The service's permissions were not checked"},
		{"precondition_failed", "The deployment has changed"},
		{"probe_failed", "The probe job failed"},
		{"quota_exceeded", "A limit of the account is reached"},
		{"request_in_progress", "The same request is being admitted"},
		{"reserved_tag", "The tag's key is reserved"},
		{"role_missing", "The role is missing"},
		{"step_broke", "A step ended in a way that it could not record"},
		{"superseded", "Another operation took over"},
		{"tenant_quota_exceeded", "A limit of the tenant is reached"},
		{"too_few_zones", "Too few Availability Zones"},
		{"too_many_environments", "Too many environments in a queue"},
		{"too_many_labels", "Too many labels"},
		{"too_many_tags", "Too many tags"},
		{"too_many_webhooks", "Too many webhooks"},
		{"unavailable", "Not available at the moment"},
		{"unexpected_body", "The path takes no body"},
		{"unknown_environment", "There is no such environment in the spec"},
		{"unknown_instance_type", "There is no such instance type"},
		{"unknown_member", "There is no such member"},
		{"unknown_parameter", "There is no such parameter"},
		{"unknown_queue", "There is no such queue in the spec"},
		{"unknown_zone", "There is no such Availability Zone"},
		{"unmanaged_first", "An unmanaged environment comes first"},
		{"unsupported_media_type", "The body is not JSON"},
		{"wrong_account", "In another account"},
		{"wrong_partition", "In another partition"},
		{"wrong_region", "In another Region"},
		{"zone_without_instance_types", "The zone offers none of the instance types"},
	}
}

// titles is the catalogue as problems look it up. It is made once and never changes.
var titles = sync.OnceValue(func() map[string]string { //nolint:gochecknoglobals // a constant, which Go has no literal for
	m := map[string]string{}
	for _, e := range catalogue() {
		m[e.Code] = e.Title
	}

	return m
})

// titleOf is the same for every problem of a code.
func titleOf(code string, class deploy.Class) string {
	if title, ok := titles()[code]; ok {
		return title
	}

	switch class {
	case deploy.NotReady:
		return "Not ready yet"
	case deploy.Throttled:
		return "AWS asked to slow down"
	case deploy.Transient:
		return "An answer is missing"
	case deploy.Conflict:
		return "Something is in the way"
	case deploy.Denied:
		return "Not allowed"
	case deploy.Quota:
		return "A limit of the account is reached"
	case deploy.Capacity:
		return "AWS has no capacity"
	case deploy.Invalid:
		return "It cannot be as asked"
	case deploy.Gone:
		return "It is not there"
	case deploy.Internal:
	}

	return "An error of the service"
}
