package computeenvironment

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// instanceTypes filters offerings by type; * matches the rest.
func instanceTypes(patterns []string) []types.Filter {
	return []types.Filter{{Name: aws.String("instance-type"), Values: patterns}}
}
