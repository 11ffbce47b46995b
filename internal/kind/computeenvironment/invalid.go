package computeenvironment

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awserr"
	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/kind"
)

const (
	// patience is how long an environment may be INVALID because a role or profile is too young for Batch to see. IAM's changes reach other services
	// within seconds, rarely two minutes (the budget of the Terraform AWS provider); one more for Batch to notice.
	patience = 3 * time.Minute
	// nudge is how often such an environment is sent an update, which makes Batch judge it anew.
	nudge = 15 * time.Second

	// memoInvalid holds since when the environment is INVALID, memoNudged when it last got an update for it.
	memoInvalid = "invalid"
	memoNudged  = "nudged"
	// memoDeleting holds when the delete was accepted: an environment that is INVALID after that could not be deleted.
	memoDeleting = "deleting"
)

// revive deals with an INVALID environment: a role that Batch does not see yet is waited for, anything else is final.
func (e *ComputeEnvironment) revive(ctx context.Context, c *kind.Call, found *types.ComputeEnvironmentDetail, result kind.Result) (kind.Result, error) {
	reason := deploy.Scrub(aws.ToString(found.StatusReason))

	if c.Memo[memoInvalid] == "" {
		c.Note(memoInvalid, stamp(c.Now()))
	}

	if !aboutRoles(reason) || age(c, memoInvalid) >= patience {
		forget(c, memoInvalid, memoNudged) // whoever tries again gets the same patience

		return result, rejected(c, reason)
	}

	result.Waiting = "INVALID: " + reason

	if c.Memo[memoNudged] != "" && age(c, memoNudged) < nudge {
		return result, nil
	}

	wanted, err := e.want(ctx, c)
	if err != nil {
		return result, err
	}

	in := &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: found.ComputeEnvironmentName, State: types.CEStateEnabled}
	if wanted != nil {
		in.ComputeResources = &types.ComputeResourceUpdate{MaxvCpus: wanted.MaxvCpus}
	}

	if _, err := e.batch.UpdateComputeEnvironment(ctx, in); err != nil {
		return result, fmt.Errorf("update the invalid compute environment %s: %w", environmentName(c), err)
	}

	c.Note(memoNudged, stamp(c.Now()))

	return result, nil
}

// aboutRoles tells whether a status reason names a role or profile that Batch could not use. The texts are AWS's, as seen in the issues of the Terraform
// AWS provider and the Batch user guide's "Troubleshooting".
func aboutRoles(reason string) bool {
	reason = strings.ToLower(reason)

	for _, sign := range []string{"assumerole", "assume role", "not authorized", "unauthorized", "access denied", "accessdenied", "instance profile", "instanceprofile", "service-linked role"} {
		if strings.Contains(reason, sign) {
			return true
		}
	}

	return false
}

func rejected(c *kind.Call, reason string) error {
	class, remedy := deploy.Invalid, "Change the settings that the reason names; the same request will fail again."
	if aboutRoles(reason) {
		class, remedy = deploy.Denied, "Ask the account's administrator whether a service control policy or a permissions boundary keeps AWS Batch from its roles."
	}

	return deploy.Errorf(class, "compute_environment_invalid", "AWS Batch finds the compute environment %s invalid: %s", environmentName(c), reason).
		WithRemedy("%s", remedy).At(c.Pointer)
}

// retire does the next thing towards gone for one environment and says what it waits for: disabled, then not in any queue, then deleted.
func (e *ComputeEnvironment) retire(ctx context.Context, c *kind.Call, d types.ComputeEnvironmentDetail) (string, error) {
	n, reason := aws.ToString(d.ComputeEnvironmentName), deploy.Scrub(aws.ToString(d.StatusReason))

	switch d.Status {
	case types.CEStatusValid:
	case types.CEStatusInvalid:
		// Batch tried to delete it and could not, because what it works as is gone. Left to itself it stays like that for ever.
		if c.Memo[memoDeleting] != "" && age(c, memoDeleting) >= patience && aboutRoles(reason) {
			forget(c, memoDeleting) // whoever tries again, with the role restored, gets another delete

			return "", deploy.Errorf(deploy.Denied, "compute_environment_stuck", "AWS Batch cannot delete the compute environment %s: %s", n, reason).
				WithRemedy("Restore the role or instance profile that the reason names, with its policies, and resume; remove it again when the environment is gone.")
		}
	default:
		return strings.TrimSuffix(string(d.Status)+": "+reason, ": "), nil
	}

	if d.State != types.CEStateDisabled {
		// Nothing but the state: anything else might start an update of the infrastructure.
		_, err := e.batch.UpdateComputeEnvironment(ctx, &batch.UpdateComputeEnvironmentInput{ComputeEnvironment: aws.String(n), State: types.CEStateDisabled})
		if awserr.IgnoreGone(err) != nil {
			return "", fmt.Errorf("disable compute environment %s: %w", n, err)
		}

		return "DISABLED", nil
	}

	_, err := e.batch.DeleteComputeEnvironment(ctx, &batch.DeleteComputeEnvironmentInput{ComputeEnvironment: aws.String(n)})
	if awserr.IgnoreGone(err) != nil {
		return "", fmt.Errorf("delete compute environment %s: %w", n, err)
	}

	c.Removed()

	if c.Memo[memoDeleting] == "" {
		c.Note(memoDeleting, stamp(c.Now()))
	}

	return string(types.CEStatusDeleting), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// age is how long ago a note was written; without one, no time at all.
func age(c *kind.Call, note string) time.Duration {
	t, err := time.Parse(time.RFC3339Nano, c.Memo[note])
	if err != nil {
		return 0
	}

	return c.Now().Sub(t)
}

func forget(c *kind.Call, notes ...string) {
	for _, n := range notes {
		delete(c.Memo, n)
	}
}
