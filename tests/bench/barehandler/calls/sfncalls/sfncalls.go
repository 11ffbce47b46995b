// Package sfncalls lists what functions/api and functions/watchdog call of Step Functions, for the bare handlers that can make the same calls.
package sfncalls

import "github.com/aws/aws-sdk-go-v2/service/sfn"

// List keeps the calls in the binary.
func List() []any {
	return []any{
		(*sfn.Client).DescribeExecution,
		(*sfn.Client).StartExecution,
	}
}
