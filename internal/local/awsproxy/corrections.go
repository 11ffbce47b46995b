package awsproxy

import "slices"

// corrections are where moto is wrong on calls that a deployment makes. They are always on.
func corrections() []entry {
	return slices.Concat(dryRuns(), tokenCorrections(), ec2Corrections(), batchCorrections(), iamCorrections(), s3Corrections(), otherCorrections())
}
