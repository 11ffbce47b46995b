package policy

// s3Rules: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html, and for actions whose name is not the operation's
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
func s3Rules() map[string]rule {
	rules := map[string]rule{
		"s3.CreateBucket": createBucket,
		"s3.ListBuckets":  anywhere("s3:ListAllMyBuckets"),
		"s3.DeleteObject": func(w *World, in input) ([]Request, error) {
			return []Request{w.deleted(in.text("Bucket"), in)}, nil
		},
		// One decision for each key. API reference, DeleteObjects, "Permissions".
		"s3.DeleteObjects": func(w *World, in input) ([]Request, error) {
			var list []Request
			for _, o := range in.sub("Delete").each("Objects") {
				list = append(list, w.deleted(in.text("Bucket"), o))
			}

			return list, nil
		},
		"s3.AbortMultipartUpload": func(w *World, in input) ([]Request, error) {
			return []Request{w.object("s3:AbortMultipartUpload", in.text("Bucket"), in.text("Key"))}, nil
		},
	}

	for operation, action := range map[string]string{
		"DeleteBucket":                    "s3:DeleteBucket",
		"DeleteBucketPolicy":              "s3:DeleteBucketPolicy",
		"GetBucketEncryption":             "s3:GetEncryptionConfiguration",
		"GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
		"GetBucketLocation":               "s3:GetBucketLocation",
		"GetBucketOwnershipControls":      "s3:GetBucketOwnershipControls",
		"GetBucketPolicy":                 "s3:GetBucketPolicy",
		"GetBucketTagging":                "s3:GetBucketTagging",
		"GetBucketVersioning":             "s3:GetBucketVersioning",
		"GetPublicAccessBlock":            "s3:GetBucketPublicAccessBlock",
		"HeadBucket":                      "s3:ListBucket",
		"ListMultipartUploads":            "s3:ListBucketMultipartUploads",
		"ListObjectVersions":              "s3:ListBucketVersions",
		"ListObjectsV2":                   "s3:ListBucket",
		"PutBucketEncryption":             "s3:PutEncryptionConfiguration",
		"PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
		"PutBucketOwnershipControls":      "s3:PutBucketOwnershipControls",
		"PutBucketPolicy":                 "s3:PutBucketPolicy",
		"PutBucketTagging":                "s3:PutBucketTagging",
		"PutBucketVersioning":             "s3:PutBucketVersioning",
		"PutPublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
	} {
		rules["s3."+operation] = func(w *World, in input) ([]Request, error) {
			return []Request{w.bucket(action, in.text("Bucket"))}, nil
		}
	}

	return rules
}

// createBucket: a create that carries tags or an ownership setting is asked for those too. API reference, CreateBucket, "Permissions".
func createBucket(w *World, in input) ([]Request, error) {
	name := in.text("Bucket")
	tags := in.sub("CreateBucketConfiguration").tagList()

	create := w.bucket("s3:CreateBucket", name)
	create.Context = with(create.Context, requestTags(tags))
	list := []Request{create}

	if len(tags) > 0 {
		tag := w.bucket("s3:TagResource", name)
		tag.Context = with(tag.Context, requestTags(tags))
		list = append(list, tag)
	}

	if in.text("ObjectOwnership") != "" {
		list = append(list, w.bucket("s3:PutBucketOwnershipControls", name))
	}

	return list, nil
}

// bucket: a bucket that does not exist has no account. Whether S3 sets aws:ResourceAccount for it is not documented, so it counts as not set.
func (w *World) bucket(action, name string) Request {
	r := Request{Action: action, Resource: "arn:" + w.Partition + ":s3:::" + name, Context: Context{}}

	if _, there := w.Existing[name]; there || w.buckets[name] {
		r.Context["aws:ResourceAccount"] = []string{w.Account}
	}

	return r
}

func (w *World) object(action, bucket, key string) Request {
	r := w.bucket(action, bucket)
	r.Resource += "/" + key

	return r
}

// deleted: removing a version is another action than writing a delete marker.
func (w *World) deleted(bucket string, object input) Request {
	action := "s3:DeleteObject"
	if object.text("VersionId") != "" {
		action = "s3:DeleteObjectVersion"
	}

	return w.object(action, bucket, object.text("Key"))
}
