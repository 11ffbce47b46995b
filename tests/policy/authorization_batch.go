package policy

import (
	"errors"
	"fmt"
	"strings"
)

// batchRules: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html.
func batchRules() map[string]rule {
	return map[string]rule{
		"batch.DescribeComputeEnvironments": anywhere("batch:DescribeComputeEnvironments"),
		"batch.DescribeJobQueues":           anywhere("batch:DescribeJobQueues"),
		"batch.DescribeJobs":                anywhere("batch:DescribeJobs"),
		"batch.ListJobs":                    anywhere("batch:ListJobs"),
		"batch.DescribeJobDefinitions":      anywhere("batch:DescribeJobDefinitions"),

		"batch.CreateComputeEnvironment": func(w *World, in input) ([]Request, error) {
			list := w.tagged("batch:CreateComputeEnvironment", "compute-environment", in.text("computeEnvironmentName"), in.tagMap())
			roles, err := w.batchRoles(in)

			return append(list, roles...), err
		},
		"batch.UpdateComputeEnvironment": func(w *World, in input) ([]Request, error) {
			list := []Request{w.batch("batch:UpdateComputeEnvironment", "compute-environment", in.text("computeEnvironment"))}
			roles, err := w.batchRoles(in)

			return append(list, roles...), err
		},
		"batch.DeleteComputeEnvironment": func(w *World, in input) ([]Request, error) {
			return []Request{w.batch("batch:DeleteComputeEnvironment", "compute-environment", in.text("computeEnvironment"))}, nil
		},

		// A queue is asked for together with the environments in its order.
		"batch.CreateJobQueue": func(w *World, in input) ([]Request, error) {
			list := w.tagged("batch:CreateJobQueue", "job-queue", in.text("jobQueueName"), in.tagMap())

			return append(list, w.order("batch:CreateJobQueue", in)...), nil
		},
		"batch.UpdateJobQueue": func(w *World, in input) ([]Request, error) {
			list := []Request{w.batch("batch:UpdateJobQueue", "job-queue", in.text("jobQueue"))}

			return append(list, w.order("batch:UpdateJobQueue", in)...), nil
		},
		"batch.DeleteJobQueue": func(w *World, in input) ([]Request, error) {
			return []Request{w.batch("batch:DeleteJobQueue", "job-queue", in.text("jobQueue"))}, nil
		},

		// The reference has definitions by name and by revision, and each registration makes a revision of its own: both actions are asked for both ways here.
		// The job role is handed on.
		"batch.RegisterJobDefinition": func(w *World, in input) ([]Request, error) {
			list := w.tagged("batch:RegisterJobDefinition", "job-definition", in.text("jobDefinitionName"), in.tagMap())
			list = append(list, w.tagged("batch:RegisterJobDefinition", "job-definition", in.text("jobDefinitionName")+":1", in.tagMap())...)

			if role := in.sub("containerProperties").text("jobRoleArn"); role != "" {
				list = append(list, Request{Action: "iam:PassRole", Resource: role, Context: Context{"iam:PassedToService": {"ecs-tasks.amazonaws.com"}}})
			}

			return list, nil
		},
		"batch.DeregisterJobDefinition": func(_ *World, in input) ([]Request, error) {
			return []Request{{Action: "batch:DeregisterJobDefinition", Resource: in.text("jobDefinition")}}, nil
		},
		// Asked for on the definition, on the queue, and on the job that comes of it, whose id nobody knows yet. For its tags AWS asks on the definition, as its
		// refusals say: https://github.com/wri/gfw-data-api/pull/175.
		"batch.SubmitJob": func(w *World, in input) ([]Request, error) {
			list := []Request{
				{Action: "batch:SubmitJob", Resource: in.text("jobDefinition"), Context: requestTags(in.tagMap())},
				{Action: "batch:SubmitJob", Resource: in.text("jobQueue"), Context: requestTags(in.tagMap())},
				{Action: "batch:SubmitJob", Resource: w.arn("batch", "job/new"), Context: requestTags(in.tagMap())},
			}
			if len(in.tagMap()) > 0 {
				list = append(list, Request{Action: "batch:TagResource", Resource: in.text("jobDefinition"), Context: requestTags(in.tagMap())})
			}

			return list, nil
		},

		// A job carries its submitter's tags, none of ours.
		"batch.TerminateJob": func(w *World, in input) ([]Request, error) {
			return []Request{{Action: "batch:TerminateJob", Resource: w.arn("batch", "job/"+in.text("jobId"))}}, nil
		},

		"batch.TagResource": func(w *World, in input) ([]Request, error) {
			arn := in.text("resourceArn")
			_, name, _ := strings.Cut(arn[strings.LastIndex(arn, ":")+1:], "/")

			return []Request{{
				Action: "batch:TagResource", Resource: arn, Context: with(requestTags(in.tagMap()), resourceTags(w.tagsOf(name))),
			}}, nil
		},
	}
}

// batch is an operation on something that exists, named by name or ARN.
func (w *World) batch(action, kind, name string) Request {
	name = name[strings.LastIndex(name, "/")+1:]

	return Request{Action: action, Resource: w.arn("batch", kind+"/"+name), Context: resourceTags(w.tagsOf(name))}
}

// tagged makes something. Tags on create are asked for as batch:TagResource; the ARN is known from the name.
func (w *World) tagged(action, kind, name string, tags map[string]string) []Request {
	arn := w.arn("batch", kind+"/"+name)

	list := []Request{{Action: action, Resource: arn, Context: requestTags(tags)}}
	if len(tags) > 0 {
		list = append(list, Request{Action: "batch:TagResource", Resource: arn, Context: requestTags(tags)})
	}

	return list
}

func (w *World) order(action string, in input) []Request {
	var list []Request
	for _, o := range in.each("computeEnvironmentOrder") {
		list = append(list, w.batch(action, "compute-environment", o.text("computeEnvironment")))
	}

	return list
}

// batchRoles are the roles that a compute environment is given. The reference, "API operations defined by AWS Batch", names three services for
// CreateComputeEnvironment: batch.amazonaws.com gets a service role, spotfleet.amazonaws.com a fleet role, and ec2.amazonaws.com the instances' role, which is
// named by its instance profile.
func (w *World) batchRoles(in input) ([]Request, error) {
	var (
		list      []Request
		resources = in.sub("computeResources")
	)

	if resources.text("spotIamFleetRole") != "" {
		return nil, errors.New("a fleet role is not known here")
	}

	if arn := in.text("serviceRole"); arn != "" {
		if !strings.HasPrefix(arn, "arn:") {
			return nil, fmt.Errorf("the service role %s is no ARN", arn)
		}

		list = append(list, Request{Action: "iam:PassRole", Resource: arn, Context: Context{"iam:PassedToService": {"batch.amazonaws.com"}}})
	}

	if arn := resources.text("instanceRole"); arn != "" {
		name := arn[strings.LastIndex(arn, "/")+1:]

		role, there := w.holds[name]
		if !there {
			return nil, fmt.Errorf("the instance profile %s holds no role that is known here", name)
		}

		list = append(list, w.pass(role, "ec2.amazonaws.com"))
	}

	return list, nil
}
