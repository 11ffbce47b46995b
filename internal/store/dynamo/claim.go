package dynamo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

const (
	claimLapse = time.Minute
	answerKept = 24 * time.Hour
)

// claimed is the body of a claim's item. Answer is nil while the request is being admitted.
type claimed struct {
	Fingerprint string        `json:"fingerprint"`
	Answer      *store.Answer `json:"answer,omitempty"`
}

func claimKey(c store.Claim) item {
	return item{"pk": text("I#" + url.PathEscape(c.Tenant) + "#" + c.Key), "sk": text("CLAIM")}
}

// claim is the item of a claim, with the answer if there is one. `until` decides (in milliseconds); `expires` (in seconds, as TTL wants it) only makes
// DynamoDB remove the item some time later, which may take days.
func (s *Store) claim(c store.Claim, answer *store.Answer, mark string) (item, error) {
	state, until := "OPEN", s.Now().Add(claimLapse)
	if answer != nil {
		state, until = "ANSWERED", s.Now().Add(answerKept)
	}

	body, err := json.Marshal(claimed{Fingerprint: c.Fingerprint, Answer: answer})
	if err != nil {
		return nil, fmt.Errorf("encode an idempotency key: %w", err)
	}

	it := claimKey(c)
	it["w"], it["body"] = text(mark), text(string(body))
	it["fingerprint"], it["state"] = text(c.Fingerprint), text(state)
	it["until"], it["expires"] = number(until.UnixMilli()), number(until.Unix())

	return it, nil
}

// free: nobody holds the key any more.
func (s *Store) free() condition {
	return condition{
		aws.String("attribute_not_exists(pk) OR #until < :now"),
		map[string]string{"#until": "until"},
		item{":now": number(s.Now().UnixMilli())},
	}
}

// open: the claim of this very request stands and is not answered yet.
func open(c store.Claim) condition {
	return condition{
		aws.String("#state = :open AND #fingerprint = :fingerprint"),
		map[string]string{"#state": "state", "#fingerprint": "fingerprint"},
		item{":open": text("OPEN"), ":fingerprint": text(c.Fingerprint)},
	}
}

// or is met where either is. The two must use different placeholders.
func (c condition) or(other condition) condition {
	names, values := maps.Clone(c.names), maps.Clone(c.values)
	maps.Copy(names, other.names)
	maps.Copy(values, other.values)

	return condition{aws.String("(" + *c.expression + ") OR (" + *other.expression + ")"), names, values}
}

// Claim implements store.Store with one conditional write, whose failure brings what stands there.
func (s *Store) Claim(ctx context.Context, c store.Claim) (*store.Answer, error) {
	it, err := s.claim(c, nil, rand.Text())
	if err != nil {
		return nil, err
	}

	old, err := s.put(ctx, it, s.free())
	if err != nil {
		return nil, wrap("claim an idempotency key", err)
	}

	if old == nil {
		return nil, nil //nolint:nilnil // no answer stands: the claim is taken
	}

	var found claimed
	if err := decode(old, &found); err != nil {
		return nil, err
	}

	switch {
	case found.Fingerprint != c.Fingerprint:
		return nil, store.ErrMismatch
	case found.Answer == nil:
		return nil, store.ErrBusy
	default:
		return found.Answer, nil
	}
}

// Release implements store.Store. An answer that stands already, or somebody else's claim, is not touched.
func (s *Store) Release(ctx context.Context, c store.Claim) error {
	mine := open(c)

	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.table, Key: claimKey(c),
		ConditionExpression: mine.expression, ExpressionAttributeNames: mine.names, ExpressionAttributeValues: mine.values,
	})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return nil
	}

	return wrap("release an idempotency key", err)
}
