package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

// claimed is the body of a claim's item. Answer is nil while the request is being admitted.
type claimed struct {
	Claim  store.Claim
	Answer *store.Answer
	// Until is when the claim lapses or the answer is forgotten; DynamoDB's TTL may remove the item days later.
	Until time.Time
}

func claimKey(c store.Claim) item {
	return item{"pk": text("I#" + c.Tenant + "#" + c.Key), "sk": text("CLAIM")}
}

func (s *Store) claimItem(c store.Claim, answer *store.Answer, lasts time.Duration) (item, error) {
	until := s.now().Add(lasts)

	body, err := json.Marshal(claimed{Claim: c, Answer: answer, Until: until})
	if err != nil {
		return nil, fmt.Errorf("write an idempotency key: %w", err)
	}

	it := claimKey(c)
	it["body"], it["until"], it["expires"] = text(string(body)), number(until.UnixMilli()), number(until.Unix())

	return it, nil
}

// Claim implements store.Store.
func (s *Store) Claim(ctx context.Context, c store.Claim) (*store.Answer, error) {
	it, err := s.claimItem(c, nil, claimLapse)
	if err != nil {
		return nil, err
	}

	mark := newMark()
	it["w"] = text(mark)
	condition := "attribute_not_exists(pk) OR #until < :now"

	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: it, ConditionExpression: &condition,
		ExpressionAttributeNames:            map[string]string{"#until": "until"},
		ExpressionAttributeValues:           item{":now": number(s.now().UnixMilli())},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})

	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return nil, wrap("claim an idempotency key", err)
	}

	if str(failed.Item["w"]) == mark {
		return nil, nil //nolint:nilnil // the first attempt's answer was lost and the SDK repeated it: the claim is ours, and no answer stands
	}

	var found claimed
	if err := decode(failed.Item, &found); err != nil {
		return nil, err
	}

	switch {
	case found.Claim.Fingerprint != c.Fingerprint:
		return nil, store.ErrMismatch
	case found.Answer == nil:
		return nil, store.ErrBusy
	default:
		return found.Answer, nil
	}
}

// Release implements store.Store. An answer that stands already is not touched.
func (s *Store) Release(ctx context.Context, c store.Claim) error {
	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: claimKey(c)})

	return wrap("release an idempotency key", err)
}

// keyOf reads a deployment's key off its partition key. Neither part holds a '#'.
func keyOf(pk string) (deploy.Key, error) {
	parts := strings.Split(pk, "#")
	if len(parts) != 3 {
		return deploy.Key{}, fmt.Errorf("the partition key %q is not a deployment's", pk)
	}

	return deploy.Key{Tenant: parts[1], Name: parts[2]}, nil
}
