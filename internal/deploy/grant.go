package deploy

import "strings"

// ValidGrant refuses what cannot be allowed: no such thing, or a thing of another account. A bucket's account does not show in its name; the check of a
// create looks at that.
func ValidGrant(place Place, kind GrantKind, value string) *Error {
	refuse := func(message, remedy string) *Error {
		return Errorf(Invalid, "invalid_grant", "%s", message).WithRemedy("%s", remedy).At("/value")
	}

	switch kind {
	case GrantBucket:
		v := &validator{place: place}
		if v.bucket("/value", value); len(v.findings) > 0 {
			return refuse("This is not a bucket's name.", "Name the bucket as S3 shows it.")
		}
	case GrantRole:
		if !strings.HasPrefix(value, "arn:"+place.Partition+":iam::"+place.Account+":role/") {
			return refuse("This is not the ARN of a role in this installation's account.", "Give the role's ARN as IAM shows it.")
		}
	case GrantStackAccount:
		if len(value) != 12 || strings.Trim(value, "0123456789") != "" {
			return refuse("This is not the number of an AWS account.", "Give its 12 digits.")
		}
	}

	return nil
}
