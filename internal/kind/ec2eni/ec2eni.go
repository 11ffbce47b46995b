// Package ec2eni names the network interfaces that hold something back. DependencyViolation never says who is in the way; the list of interfaces does.
//
// It only reads. Interfaces that a service made cannot be detached by us (AuthFailure) and vanish by themselves, some after 45 minutes.
package ec2eni

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// API is the one call.
type API interface {
	DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput, opts ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error)
}

// listed is how many interfaces are named; the rest are counted.
const listed = 3

// Holding says which network interfaces match a filter of DescribeNetworkInterfaces ("group-id", "subnet-id"), for a person to read; empty if none do.
func Holding(ctx context.Context, api API, filter, value string) (string, error) {
	out, err := api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String(filter), Values: []string{value}}},
	})
	if err != nil {
		return "", fmt.Errorf("list the network interfaces of %s: %w", value, err)
	}

	if len(out.NetworkInterfaces) == 0 {
		return "", nil
	}

	var names []string

	for i := range out.NetworkInterfaces {
		if i == listed {
			names = append(names, fmt.Sprintf("and %d more", len(out.NetworkInterfaces)-listed))

			break
		}

		n := &out.NetworkInterfaces[i]
		names = append(names, fmt.Sprintf("%s (%s, %s)", aws.ToString(n.NetworkInterfaceId), describe(n), n.Status))
	}

	return "network interfaces still there: " + strings.Join(names, ", "), nil
}

func describe(n *types.NetworkInterface) string {
	if d := aws.ToString(n.Description); d != "" {
		return d
	}

	if n.Attachment != nil && aws.ToString(n.Attachment.InstanceId) != "" {
		return "of " + aws.ToString(n.Attachment.InstanceId)
	}

	return "without description"
}
