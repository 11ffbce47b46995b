package awsproxy

import (
	"context"
	"net/http"
	"slices"
)

// How unkind the strict rules are. AWS takes seconds and minutes; here they are counted in looks and tries, so that a test knows what to expect.
const (
	strictPolls      = 2 // looks that show a state between, or a thing that is gone
	strictFreshReads = 2 // looks that do not find a new thing yet
	strictInterfaces = 3 // tries that a lingering network interface refuses
)

// strictRules are where moto is kinder than AWS. States and refusals hold for every caller; what happens once or for a while only, and depends on chance in AWS,
// holds for functions alone, so that a person looking on does not use it up.
func strictRules() []entry {
	return slices.Concat(throttles(), strictBatch(), strictIAM(), strictEC2(), strictS3())
}

func throttles() []entry {
	source := "EC2 user guide, Request throttling; IAM, Batch, DynamoDB, Step Functions and STS API references, Common errors; S3 user guide, SlowDown: " +
		"any call may be refused for its rate. Here the first call of each operation in an account is."

	var table []entry

	for service, fault := range map[string]Fault{
		"ec2":      {http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."},
		"iam":      {http.StatusBadRequest, "Throttling", "Rate exceeded"},
		"sts":      {http.StatusBadRequest, "Throttling", "Rate exceeded"},
		"batch":    {http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests"},
		"s3":       {http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."},
		"dynamodb": {http.StatusBadRequest, "ThrottlingException", "Rate of requests exceeds the allowed throughput."},
		"sfn":      {http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
	} {
		table = append(table, entry{
			name: "strict/throttle-" + service, source: source, service: service,
			apply: func(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
				if !c.isFunction() || !c.world.first("throttle "+c.service+" "+c.action) {
					return next(ctx, c)
				}

				p.touch(c, "strict/throttle-"+service)

				return c.refuse(fault.Status, fault.Code, fault.Message), nil
			},
		})
	}

	slices.SortFunc(table, func(a, b entry) int {
		if a.name < b.name {
			return -1
		}

		return 1
	})

	return table
}
