package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	random "math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

const (
	conditionFailed = "ConditionalCheckFailed"
	conflict        = "TransactionConflict"

	// patience is how long a transaction that meets others at the same item is repeated; between the attempts lie random times up to pause, which grows from
	// the one to the other.
	patience             = 2 * time.Second
	pauseFirst, pauseMax = 10 * time.Millisecond, 200 * time.Millisecond
)

// transaction gathers writes that happen together or not at all. All its items carry one mark.
type transaction struct {
	table, mark string
	items       []types.TransactWriteItem
	errs        []error
}

func (s *Store) begin() *transaction { return &transaction{table: s.table, mark: rand.Text()} }

// put writes an item; err is that of its encoding.
func (t *transaction) put(it item, c condition, err error) {
	write := &types.Put{
		TableName: &t.table, Item: it, ConditionExpression: c.expression, ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}
	if c.expression != nil {
		write.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}

	t.errs, t.items = append(t.errs, err), append(t.items, types.TransactWriteItem{Put: write})
}

func (t *transaction) drop(pk, sk string, c condition) {
	t.items = append(t.items, types.TransactWriteItem{Delete: &types.Delete{
		TableName: &t.table, Key: item{"pk": text(pk), "sk": text(sk)},
		ConditionExpression: c.expression, ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}})
}

// send writes the transaction. Where conditions failed it returns the reasons, in the order of the items, and no error. A transaction is all or nothing, so
// one item with our mark is proof that it had happened already, whatever became of the others since.
func (s *Store) send(ctx context.Context, t *transaction) (failed []types.CancellationReason, err error) {
	if err := errors.Join(t.errs...); err != nil {
		return nil, err
	}

	until := time.Now().Add(patience)

	for pause := pauseFirst; ; pause = min(2*pause, pauseMax) {
		// For ten minutes, the token makes a repetition of the same transaction answer as the first one did, if that succeeded.
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: t.items, ClientRequestToken: &t.mark})

		canceled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			return nil, err
		}

		met := false

		for _, reason := range canceled.CancellationReasons {
			if str(reason.Item["w"]) == t.mark {
				return nil, nil
			}

			if isFailed(reason) {
				failed = canceled.CancellationReasons
			}

			met = met || aws.ToString(reason.Code) == conflict
		}

		if failed != nil {
			return failed, nil
		}

		if !met || time.Now().After(until) {
			return nil, err
		}

		if err := rest(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func isFailed(r types.CancellationReason) bool { return aws.ToString(r.Code) == conditionFailed }

// rest waits a random time.
func rest(ctx context.Context, most time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(random.N(most)): //nolint:gosec // only to keep attempts apart
		return nil
	}
}

// refusal is what failed conditions mean for a commit: a lost race, unless the counters stood in the way and nothing else.
func (t *transaction) refusal(failed []types.CancellationReason, u *store.Usage) error {
	last := len(failed) - 1

	for i, reason := range failed {
		if isFailed(reason) && (i < last || t.items[i].Update == nil) {
			return store.ErrStale
		}
	}

	// The answer holds the counters as the condition saw them.
	have, err := usage(failed[last].Item)
	if err != nil {
		return err
	}

	return &store.LimitError{Have: have, Limit: u.Limit}
}
