// Package dynamo keeps records in one DynamoDB table. It knows the table's layout and nothing of what the records mean.
//
// One deployment is one partition, `D#<tenant>#<name>`, whose sort keys put what is read together next to each other:
//
//	A#HEAD        the header
//	A#OP          a copy of the current operation
//	B#<ref>       one item per resource
//	H#<id>        every operation, the current one too: the history
//
// so that one consistent Query up to C reads a whole record and none of its history. The noun itself is the JSON text in `body`; what DynamoDB has to
// look at stands beside it: `version` (the condition of every write), `w` (the write's own mark) and the keys of two sparse indexes. `tenant-index` holds
// the headers of a tenant by name, the living apart from the deleted. `unfinished-index` holds what waits for a time, one partition for each sort of waiting:
//
//	UNFINISHED    headers that the watchdog looks after, by the time of its next look
//	QUEUED        headers of queued operations, by tenant and the time since when they wait
//	EXPIRING      headers of finished operations that have a time set
//	CALLBACK      callbacks, by their deadline
//
// Beside the deployments stand
//
//	E#<tenant>#<name>     the events of a deployment by sequence. The table's stream carries them away (EventOf reads them there); 30 days later they go.
//	K#<tenant>#<name>     the callbacks that wait on a deployment, by CloudFormation's request id
//	T#<tenant>#AUDIT      a tenant's audit trail by id; in the tenant index once more for each deployment. No write of this package replaces or removes one.
//	T#<tenant>#USAGE      the tenant's counters: numbers without a body, so that DynamoDB itself can add to them
//	T#<tenant>#GRANTS     what admins allow the tenant, by kind and value
//	T#<tenant>#WEBHOOKS   where its events are sent, by id
//	I#<tenant>#<key>      the claim of an idempotency key
//	SWEEP                 what the sweeper noted: `F#<family>` its newest sweep of a family, `O#<name>` an orphan
//
// What goes by itself goes by the table's TTL (`expires`).
//
// The counters are the one item that all of a tenant's deployments write. They move under no version, so nobody loses to another's move; but DynamoDB refuses
// a transaction that meets another one at the same item, and that is repeated here for a while.
//
// Every write carries a mark of its own. If its answer is lost and the SDK repeats it, the repetition fails on its own success; the mark of the item that
// stands there tells so. Once the SDK has given up as well, nobody knows: the caller gets AWS's error, and repeating the call gives ErrStale if it had
// happened.
package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

type api interface {
	Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, opts ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Store implements store.Store and its neighbours.
type Store struct {
	// Now is the clock of claims. It is to be set before the first call.
	Now func() time.Time

	db    api
	table string
}

// New takes the client and the name of the table that template.yaml describes.
func New(client api, table string) *Store { return &Store{Now: time.Now, db: client, table: table} }

var (
	_ store.Store     = (*Store)(nil)
	_ store.Sweeps    = (*Store)(nil)
	_ store.Tenants   = (*Store)(nil)
	_ store.Trail     = (*Store)(nil)
	_ store.Grants    = (*Store)(nil)
	_ store.Webhooks  = (*Store)(nil)
	_ store.Callbacks = (*Store)(nil)
)

// loads is how often Load reads before it believes that a record does not fit together.
const loads = 5

// Load implements store.Store with one consistent Query. A Query is no transaction: it may see one item before and another after a Commit. That shows where
// the operation is not the one that the header names, and is read again; anything else fails at the write, by its version.
func (s *Store) Load(ctx context.Context, key deploy.Key) (*store.Record, error) {
	for range loads {
		record, err := s.read(ctx, key)
		if err != nil {
			return nil, err
		}

		if record.Deployment.Operation == record.Operation.ID {
			return record, nil
		}
	}

	return nil, fmt.Errorf("read deployment %s: its operation is not the one that its header names", key.Name)
}

func (s *Store) read(ctx context.Context, key deploy.Key) (*store.Record, error) {
	record, found := &store.Record{}, false

	in := &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND sk < :past"),
		ExpressionAttributeValues: item{":pk": text(partition(key)), ":past": text(sortPast)},
	}

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, err
		}

		switch str(it["sk"]) {
		case sortHead:
			found = true
			err = decode(it, &record.Deployment)
		case sortCurrent:
			err = decode(it, &record.Operation)
		default:
			record.Resources = append(record.Resources, deploy.Resource{})
			err = decode(it, &record.Resources[len(record.Resources)-1])
		}

		if err != nil {
			return nil, err
		}
	}

	if !found {
		return nil, store.ErrNotFound
	}

	return record, nil
}

// Commit implements store.Store with one transaction. An operation must come with its deployment's header, whose condition guards the copy of the
// current one.
func (s *Store) Commit(ctx context.Context, key deploy.Key, change *store.Change) error {
	if err := change.Sound(key); err != nil {
		return err
	}

	t := s.begin()
	s.records(t, key, change)

	for _, e := range change.Events {
		t.event(e)
	}

	for _, e := range change.Entries {
		t.entry(e)
	}

	// The counters come last, for they are judged last.
	if u := change.Usage; u != nil && u.Usage != (deploy.Usage{}) {
		t.move(key.Tenant, *u)
	}

	failed, err := s.send(ctx, t)
	if err != nil {
		return wrap("write deployment "+key.Name, err)
	}

	if failed != nil {
		return t.refusal(failed, change.Usage)
	}

	if change.Deployment != nil {
		change.Deployment.Version++
	}

	for i := range change.Operations {
		change.Operations[i].Version++
	}

	for i := range change.Resources {
		change.Resources[i].Version++
	}

	return nil
}

// records adds the items of a record, each under the condition of the version that was read, and the answer to its request.
func (s *Store) records(t *transaction, key deploy.Key, change *store.Change) {
	pk := partition(key)

	if d := change.Deployment; d != nil {
		it, err := header(pk, t.mark, *d)
		t.put(it, unchanged(d.Version), err)
	}

	for _, op := range change.Operations {
		read := op.Version
		op.Version++

		it, err := encode(pk, sortOperation+op.ID, t.mark, op.Version, op)
		t.put(it, unchanged(read), err)

		if op.ID == change.Deployment.Operation {
			it, err := encode(pk, sortCurrent, t.mark, op.Version, op)
			t.put(it, condition{}, err)
		}
	}

	for _, r := range change.Resources {
		it, err := resource(pk, t.mark, r)
		t.put(it, unchanged(r.Version), err)
	}

	for _, r := range change.Drop {
		c := unchanged(r.Version)
		if r.Version == 0 {
			c = never() // what was never written cannot have been read
		}

		t.drop(pk, sortResource+string(r.Ref), c)
	}

	if a := change.Answer; a != nil {
		it, err := s.claim(a.Claim, a, t.mark)
		t.put(it, s.free().or(open(a.Claim)), err)
	}
}

// Save implements store.Store with one conditional write.
func (s *Store) Save(ctx context.Context, key deploy.Key, r *deploy.Resource) error {
	mark := rand.Text()

	it, err := resource(partition(key), mark, *r)
	if err != nil {
		return err
	}

	old, err := s.put(ctx, it, unchanged(r.Version))
	if err != nil {
		return wrap("write resource "+string(r.Ref), err)
	}

	if old != nil {
		return store.ErrStale
	}

	r.Version++

	return nil
}

// put writes an item under a condition. If that fails it returns what stands there, which is never nil; unless that carries the item's own mark, for then
// an earlier attempt of this same call was the writer.
func (s *Store) put(ctx context.Context, it item, c condition) (old item, err error) {
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: it, ConditionExpression: c.expression, ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})

	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)

	switch {
	case !ok:
		return nil, err
	case failed.Item == nil:
		return item{}, nil // the item was there when it was read and is gone
	case str(failed.Item["w"]) == str(it["w"]):
		return nil, nil //nolint:nilnil // nothing stood in the way
	default:
		return failed.Item, nil
	}
}
