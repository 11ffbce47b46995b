package deploy

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Ref names one resource within a deployment: its kind, and for kinds of which there may be several an id, as in "vpc" or "job-queue/default".
type Ref string

// NewRef joins a kind and an id.
func NewRef(kind, id string) Ref {
	if id == "" {
		return Ref(kind)
	}

	return Ref(kind + "/" + id)
}

// Kind is the part before the slash.
func (r Ref) Kind() string {
	kind, _, _ := strings.Cut(string(r), "/")

	return kind
}

// ID is the part after the slash, empty for a kind of which there is one.
func (r Ref) ID() string {
	_, id, _ := strings.Cut(string(r), "/")

	return id
}

// past joins a ref and the generation of a thing that another one of that ref has replaced, or is about to. No id of a spec holds it.
const past = "~"

// Past is the ref under which the record keeps the thing of an earlier generation while the next one takes over. Its tags name the ref itself.
func (r Ref) Past(generation string) Ref { return r + past + Ref(generation) }

// Base is the ref that Past was made from, and the generation; the ref itself and nothing for any other.
func (r Ref) Base() (Ref, string) {
	base, generation, _ := strings.Cut(string(r), past)

	return Ref(base), generation
}

// TagPrefix starts the key of every tag that the product writes; owners may not use it.
const TagPrefix = "metaflow-deployer:"

// The tags that say whose a thing is. All four must agree before we change or delete anything.
const (
	TagInstallation = TagPrefix + "installation"
	TagTenant       = TagPrefix + "tenant"
	TagDeployment   = TagPrefix + "deployment"
	TagResource     = TagPrefix + "resource"
	// TagKept marks a bucket that a delete left behind with its objects.
	TagKept = TagPrefix + "kept"
	// TagOwner says who created the deployment, for people: nothing is decided by it.
	TagOwner = TagPrefix + "owner"
)

// MaxTags is how many tags an owner may set: AWS allows 50 on one thing and we need room for our own (the tags above and Name).
const MaxTags = 42

// Owner is who a resource belongs to. Names, tags and tokens derive from it and from nothing else, so that a process that lost its memory finds
// what an earlier one made.
type Owner struct {
	Installation string
	Partition    string
	Account      string
	Region       string
	Tenant       string
	Name         string
	// By is who created the deployment.
	By string
	// Tags are the owner's own, put on everything beside ours.
	Tags map[string]string
}

// Slug is the stem of every AWS name: the deployment's name and 8 characters that tell apart the same name of other tenants, accounts, Regions and
// installations. At most 24+1+8 = 33 characters of [a-z0-9-]. The account number itself never shows in a name.
func (o Owner) Slug() string {
	return o.Name + "-" + digest(8, o.Installation, o.Account, o.Region, o.Tenant, o.Name)
}

// Token is the client token for a create call: the same for every attempt of one operation, another for the next operation, because AWS remembers
// tokens longer than the thing they made. 32 characters of [a-z2-7].
func (o Owner) Token(ref Ref, operation string) string {
	return digest(32, o.Installation, o.Account, o.Region, o.Tenant, o.Name, string(ref), operation)
}

// TagsFor returns every tag of a resource: the owner's, and ours on top.
func (o Owner) TagsFor(ref Ref) map[string]string {
	tags := make(map[string]string, len(o.Tags)+5)
	for k, v := range o.Tags {
		tags[k] = v
	}

	if o.By != "" {
		tags[TagOwner] = tagValue(o.By)
	}

	for k, v := range o.Identity(ref) {
		tags[k] = v
	}

	return tags
}

// tagValue writes a text so that every service takes it for a tag's value: at most 256 letters, digits, blanks and a few signs.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
func tagValue(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" _.:/=+-@", r) {
			return r
		}

		return '_'
	}, s)

	if runes := []rune(s); len(runes) > maxTagValue {
		s = string(runes[:maxTagValue])
	}

	return s
}

// Identity returns only the tags that say whose a resource is: what to search by.
func (o Owner) Identity(ref Ref) map[string]string {
	return map[string]string{
		TagInstallation: o.Installation,
		TagTenant:       o.Tenant,
		TagDeployment:   o.Name,
		TagResource:     string(ref),
	}
}

// Owns tells whether a thing with these tags is this owner's resource ref.
func (o Owner) Owns(ref Ref, tags map[string]string) bool {
	for k, v := range o.Identity(ref) {
		if tags[k] != v {
			return false
		}
	}

	return true
}

// ARN builds an ARN in the owner's partition. Region and account may be empty, as S3 and IAM want them.
func (o Owner) ARN(service, region, account, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", o.Partition, service, region, account, resource)
}

// Bucket is the bucket that Metaflow keeps its data in, and the key prefix that everything stays under (without slashes around it, empty for none):
// what the spec names, or the one that we make. At most 33+9 = 42 of the 63 characters that S3 allows.
func (o Owner) Bucket(spec Spec) (name, prefix string) {
	if e := spec.Storage.Existing; e != nil {
		return e.Bucket, strings.Trim(e.Prefix, "/")
	}

	return o.Slug() + BucketSuffix, ""
}

// ProbeObject is where a probe job writes: the bucket, and the key of the one object that it leaves there.
func (o Owner) ProbeObject(spec Spec) (bucket, key string) {
	bucket, prefix := o.Bucket(spec)

	return bucket, strings.TrimPrefix(prefix+"/"+spec.Storage.DataToolsPrefix+"/metaflow-deployer-probe", "/")
}

// BucketSuffix ends the name of every bucket that we make; the permissions of our own functions are scoped by it.
const BucketSuffix = "-metaflow"

// RolePath is the IAM path of every role and instance profile that we make; the permissions of our own functions are scoped by it.
func (o Owner) RolePath() string { return "/metaflow-deployer/" + o.Installation + "/" }

// Hash is a short stable digest of any JSON value: 8 characters of [a-z2-7].
func Hash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("hash a value that is not JSON: %v", err)) // a wiring mistake: kinds hash their own plain structs
	}

	return digest(8, string(b))
}

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567") //nolint:gochecknoglobals // RFC 4648's alphabet in lower case

func digest(n int, parts ...string) string {
	text := make([]byte, 0, 256)
	for _, p := range parts {
		// Lengths keep ("ab","c") apart from ("a","bc").
		text = append(append(strconv.AppendInt(text, int64(len(p)), 10), ':'), p...)
	}

	sum := sha256.Sum256(text)

	return lower.EncodeToString(sum[:])[:n]
}
