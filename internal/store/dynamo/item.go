package dynamo

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

type item = map[string]types.AttributeValue

const (
	sortHead      = "A#HEAD"
	sortCurrent   = "A#OP"
	sortResource  = "B#"
	sortPast      = "C" // the first sort key behind a record
	sortOperation = "H#"

	indexTenant     = "tenant-index"
	indexUnfinished = "unfinished-index"

	// The partitions of that index: they hold what waits at this moment only.
	unfinished = "UNFINISHED"
	queued     = "QUEUED"
	expiring   = "EXPIRING"
	callback   = "CALLBACK"

	// The families of what belongs to one deployment begin its partition keys.
	familyRecord   = "D"
	familyEvent    = "E"
	familyCallback = "K"

	live = "LIVE"
	gone = "GONE"
)

// partition is where a record stands.
func partition(key deploy.Key) string { return of(familyRecord, key) }

// of joins a family, tenant and name. Tenants come from an identity provider and may hold anything, so they are escaped; names hold no '#'.
func of(family string, key deploy.Key) string {
	return family + "#" + url.PathEscape(key.Tenant) + "#" + key.Name
}

// keyOf reads a deployment's key off its partition key.
func keyOf(pk string) (deploy.Key, error) {
	tenant, name, ok := strings.Cut(strings.TrimPrefix(pk, familyRecord+"#"), "#")
	if !ok || !strings.HasPrefix(pk, familyRecord+"#") {
		return deploy.Key{}, fmt.Errorf("the partition key %q is not a deployment's", pk)
	}

	tenant, err := url.PathUnescape(tenant)
	if err != nil {
		return deploy.Key{}, fmt.Errorf("read the partition key %q: %w", pk, err)
	}

	return deploy.Key{Tenant: tenant, Name: name}, nil
}

// byTenant is a partition of the tenant index, or one of the table for what belongs to a tenant.
func byTenant(tenant, half string) string { return "T#" + url.PathEscape(tenant) + "#" + half }

// byName sorts within it. The prefix is there because DynamoDB compares no key with an empty text.
func byName(name string) string { return "D#" + name }

// header is the item of a deployment, put where lists and the watchdog look for it.
func header(pk, mark string, d deploy.Deployment) (item, error) {
	d.Version++

	it, err := encode(pk, sortHead, mark, d.Version, d)
	if err != nil {
		return nil, err
	}

	half := live
	if d.Phase == deploy.PhaseDeleted {
		half = gone
	}

	it["gsi1pk"], it["gsi1sk"] = text(byTenant(d.Tenant, half)), text(byName(d.Name))

	at := moment(d.CheckTime)

	switch {
	case d.Queued:
		it["gsi2pk"], it["gsi2sk"] = text(queued), text(queue(d.Tenant)+at)
	case d.Unfinished:
		it["gsi2pk"], it["gsi2sk"] = text(unfinished), text(at)
	case !d.CheckTime.IsZero():
		it["gsi2pk"], it["gsi2sk"] = text(expiring), text(at)
	}

	return it, nil
}

func resource(pk, mark string, r deploy.Resource) (item, error) {
	r.Version++

	return encode(pk, sortResource+string(r.Ref), mark, r.Version, r)
}

func encode(pk, sk, mark string, version int64, noun any) (item, error) {
	body, err := json.Marshal(noun)
	if err != nil {
		return nil, fmt.Errorf("encode item %s: %w", sk, err)
	}

	return item{"pk": text(pk), "sk": text(sk), "w": text(mark), "version": number(version), "body": text(string(body))}, nil
}

func decode(it item, noun any) error {
	if err := json.Unmarshal([]byte(str(it["body"])), noun); err != nil {
		return fmt.Errorf("decode item %s of the table: %w", str(it["sk"]), err)
	}

	return nil
}

// condition is what a write rests on.
type condition struct {
	expression *string
	names      map[string]string
	values     item
}

// unchanged: the item is still at the version that was read; 0 is an item that must not exist.
func unchanged(read int64) condition {
	if read == 0 {
		return condition{expression: aws.String("attribute_not_exists(pk)")}
	}

	return condition{aws.String("#version = :read"), map[string]string{"#version": "version"}, item{":read": number(read)}}
}

// never is met by no item: versions start at 1.
func never() condition {
	return condition{aws.String("#version = :read"), map[string]string{"#version": "version"}, item{":read": number(0)}}
}

// there: the item exists.
func there() condition { return condition{expression: aws.String("attribute_exists(pk)")} }

// moment writes times so that they sort as texts.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func str(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}

	return ""
}

func wrap(act string, err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%s: %w", act, err)
}
