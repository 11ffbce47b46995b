// Package dynamo keeps records in one DynamoDB table. It knows the table's layout and nothing of what the records mean.
//
// One deployment is one partition, `D#<tenant>#<name>`, whose sort keys put what is read together next to each other:
//
//	A#HEAD        the header
//	A#OP          the current operation
//	B#<ref>       one item per resource
//	H#<id>        every operation, current ones too, for the history
//
// so that one consistent Query from A to C reads a whole record and none of its history. The noun itself is the JSON text in `body`; what DynamoDB has to
// look at stands beside it: `version` (the condition of every write), `w` (the write's own mark) and the index keys. `I#<tenant>#<key>` holds the claim of
// an idempotency key and goes by the table's TTL.
package dynamo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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

// Store implements store.Store.
type Store struct {
	db    api
	table string
	now   func() time.Time
}

// New takes the client and the name of the table that template.yaml describes.
func New(client api, table string) *Store { return &Store{db: client, table: table, now: time.Now} }

type item = map[string]types.AttributeValue

const (
	sortHead      = "A#HEAD"
	sortCurrent   = "A#OP"
	sortResource  = "B#"
	sortPast      = "C" // the first sort key behind a record
	sortOperation = "H#"

	indexTenant     = "tenant-index"
	indexUnfinished = "unfinished-index"

	// unfinished is the one partition of the sparse index: it holds what runs at this moment only.
	unfinished = "UNFINISHED"
	// batch is DynamoDB's limit of one transaction. API reference, TransactWriteItems.
	batch = 100

	claimLapse = time.Minute
	answerKept = 24 * time.Hour
)

func partition(key deploy.Key) string { return "D#" + key.Tenant + "#" + key.Name }

// Load implements store.Store with one consistent Query.
func (s *Store) Load(ctx context.Context, key deploy.Key) (*store.Record, error) {
	record, found := &store.Record{}, false

	err := s.query(ctx, &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND sk < :past"),
		ExpressionAttributeValues: item{":pk": text(partition(key)), ":past": text(sortPast)},
	}, func(it item) error {
		switch str(it["sk"]) {
		case sortHead:
			found = true

			return decode(it, &record.Deployment)
		case sortCurrent:
			return decode(it, &record.Operation)
		default:
			var r deploy.Resource
			if err := decode(it, &r); err != nil {
				return err
			}

			record.Resources = append(record.Resources, r)

			return nil
		}
	})
	if err != nil {
		return nil, err
	}

	if !found {
		return nil, store.ErrNotFound
	}

	return record, nil
}

// Commit implements store.Store with one transaction.
func (s *Store) Commit(ctx context.Context, key deploy.Key, change *store.Change) error {
	var (
		writes []types.TransactWriteItem
		mark   = newMark()
		raised []*int64
		pk     = partition(key)
	)

	put := func(sk string, noun any, version *int64, extra item) error {
		read := *version
		*version++
		raised = append(raised, version)

		it, err := encode(pk, sk, mark, *version, noun, extra)
		if err != nil {
			return err
		}

		condition, values := unchanged(read)
		writes = append(writes, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.table, Item: it, ConditionExpression: &condition, ExpressionAttributeNames: names(read), ExpressionAttributeValues: values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}})

		return nil
	}

	// What a failed transaction must not leave behind: raised versions in the caller's hands.
	lower := func() {
		for _, v := range raised {
			*v--
		}
	}

	err := func() error {
		current := ""

		if d := change.Deployment; d != nil {
			current = d.Operation
			if err := put(sortHead, d, &d.Version, index(d)); err != nil {
				return err
			}
		}

		for i := range change.Operations {
			op := &change.Operations[i]
			isNew := op.Version == 0

			if err := put(sortOperation+op.ID, op, &op.Version, nil); err != nil {
				return err
			}

			if current != "" && op.ID != current {
				continue
			}

			// The copy that Load reads rests on the header's condition; a new operation takes the place of whichever was current.
			it, err := encode(pk, sortCurrent, mark, op.Version, op, nil)
			if err != nil {
				return err
			}

			copied := &types.Put{TableName: &s.table, Item: it}
			if !isNew {
				condition, values := unchanged(op.Version - 1)
				copied.ConditionExpression, copied.ExpressionAttributeNames, copied.ExpressionAttributeValues = &condition, names(op.Version-1), values
				copied.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
			}

			writes = append(writes, types.TransactWriteItem{Put: copied})
		}

		for i := range change.Resources {
			r := &change.Resources[i]
			if err := put(sortResource+string(r.Ref), r, &r.Version, nil); err != nil {
				return err
			}
		}

		for i := range change.Drop {
			r := &change.Drop[i]
			condition, values := unchanged(r.Version)
			writes = append(writes, types.TransactWriteItem{Delete: &types.Delete{
				TableName: &s.table, Key: item{"pk": text(pk), "sk": text(sortResource + string(r.Ref))},
				ConditionExpression: &condition, ExpressionAttributeNames: names(r.Version), ExpressionAttributeValues: values,
			}})
		}

		if a := change.Answer; a != nil {
			it, err := s.claimItem(a.Claim, a, answerKept)
			if err != nil {
				return err
			}

			writes = append(writes, types.TransactWriteItem{Put: &types.Put{TableName: &s.table, Item: it}})
		}

		if len(writes) > batch {
			return fmt.Errorf("write %d items of deployment %s at once: DynamoDB takes %d", len(writes), key.Name, batch)
		}

		// The token lets a repetition by the SDK count as the same transaction for ten minutes.
		_, err := s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: writes, ClientRequestToken: &mark})

		return canceled(err, mark)
	}()
	if err != nil {
		lower()
	}

	return err
}

// canceled tells a transaction that lost a race from one that had happened already and from a fault.
func canceled(err error, mark string) error {
	c, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return wrap("write the record", err)
	}

	for _, reason := range c.CancellationReasons {
		if aws.ToString(reason.Code) != "ConditionalCheckFailed" {
			continue
		}

		if str(reason.Item["w"]) == mark {
			return nil
		}

		return store.ErrStale
	}

	return wrap("write the record", err)
}

// Save implements store.Store with one conditional write.
func (s *Store) Save(ctx context.Context, key deploy.Key, r *deploy.Resource) error {
	mark := newMark()
	read := r.Version
	r.Version++

	it, err := encode(partition(key), sortResource+string(r.Ref), mark, r.Version, r, nil)
	if err != nil {
		r.Version = read

		return err
	}

	condition, values := unchanged(read)

	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.table, Item: it, ConditionExpression: &condition, ExpressionAttributeNames: names(read), ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if err == nil {
		return nil
	}

	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if ok && str(failed.Item["w"]) == mark {
		return nil // the first attempt's answer was lost and the SDK repeated it
	}

	r.Version = read

	if ok {
		return store.ErrStale
	}

	return wrap("write "+string(r.Ref), err)
}

// Operation implements store.Store.
func (s *Store) Operation(ctx context.Context, key deploy.Key, id string) (deploy.Operation, error) {
	var op deploy.Operation

	out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true), Key: item{"pk": text(partition(key)), "sk": text(sortOperation + id)},
	})
	if err != nil {
		return op, wrap("read operation "+id, err)
	}

	if out.Item == nil {
		return op, store.ErrNotFound
	}

	return op, decode(out.Item, &op)
}

// Operations implements store.Store; ids sort by time within a deployment.
func (s *Store) Operations(ctx context.Context, key deploy.Key, size int, after string) ([]deploy.Operation, error) {
	upper := sortOperation + "~" // behind every character of an id
	if after != "" {
		upper = sortOperation + after
	}

	var ops []deploy.Operation

	err := s.page(ctx, &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :low AND :high"),
		ExpressionAttributeValues: item{":pk": text(partition(key)), ":low": text(sortOperation), ":high": text(upper)},
		Limit:                     aws.Int32(int32(size + 1)), //nolint:gosec // a page has at most some hundred entries
	}, func(it item) (bool, error) {
		var op deploy.Operation
		if err := decode(it, &op); err != nil {
			return false, err
		}

		if op.ID != after && len(ops) < size {
			ops = append(ops, op)
		}

		return len(ops) < size, nil
	})

	return ops, err
}

// scanned bounds how many headers one page of a filtered list may read.
const scanned = 500

// Deployments implements store.Store on an index that holds a tenant's living deployments apart from the deleted ones.
func (s *Store) Deployments(ctx context.Context, list store.List) (page []deploy.Deployment, more bool, err error) {
	state := "LIVE"
	if list.Deleted {
		state = "ALL"
	}

	if state == "ALL" {
		// Both halves are sorted by name: merge them.
		return s.merged(ctx, list)
	}

	return s.half(ctx, list, state)
}

func (s *Store) merged(ctx context.Context, list store.List) (page []deploy.Deployment, more bool, err error) {
	live, moreLive, err := s.half(ctx, list, "LIVE")
	if err != nil {
		return nil, false, err
	}

	gone, moreGone, err := s.half(ctx, list, "GONE")
	if err != nil {
		return nil, false, err
	}

	// A half that was cut off hides names behind its last one.
	limit := ""

	for _, h := range []struct {
		list []deploy.Deployment
		more bool
	}{{live, moreLive}, {gone, moreGone}} {
		if h.more && len(h.list) > 0 && (limit == "" || h.list[len(h.list)-1].Name < limit) {
			limit = h.list[len(h.list)-1].Name
		}
	}

	for len(page) < list.Size && (len(live) > 0 || len(gone) > 0) {
		from := &live
		if len(live) == 0 || len(gone) > 0 && gone[0].Name < live[0].Name {
			from = &gone
		}

		if limit != "" && (*from)[0].Name > limit {
			return page, true, nil
		}

		page, *from = append(page, (*from)[0]), (*from)[1:]
	}

	return page, len(live) > 0 || len(gone) > 0 || moreLive || moreGone, nil
}

func (s *Store) half(ctx context.Context, list store.List, state string) (page []deploy.Deployment, more bool, err error) {
	read := 0

	err = s.page(ctx, &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexTenant),
		KeyConditionExpression:    aws.String("gsi1pk = :pk AND gsi1sk > :after"),
		ExpressionAttributeValues: item{":pk": text("T#" + list.Tenant + "#" + state), ":after": text("D#" + list.After)},
		Limit:                     aws.Int32(int32(min(list.Size, scanned) + 1)), //nolint:gosec // bounded
	}, func(it item) (bool, error) {
		if len(page) == list.Size || read == scanned {
			more = true

			return false, nil
		}

		var d deploy.Deployment
		if err := decode(it, &d); err != nil {
			return false, err
		}

		read++

		if list.Match == nil || list.Match(d) {
			page = append(page, d)
		}

		return true, nil
	})

	return page, more, err
}

// Unfinished implements store.Store on the sparse index.
func (s *Store) Unfinished(ctx context.Context, before time.Time, limit int) ([]deploy.Key, error) {
	var keys []deploy.Key

	err := s.page(ctx, &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexUnfinished),
		KeyConditionExpression:    aws.String("gsi2pk = :pk AND gsi2sk < :before"),
		ExpressionAttributeValues: item{":pk": text(unfinished), ":before": text(moment(before))},
		Limit:                     aws.Int32(int32(limit)), //nolint:gosec // bounded by the caller
	}, func(it item) (bool, error) {
		key, err := keyOf(str(it["pk"]))
		if err != nil {
			return false, err
		}

		keys = append(keys, key)

		return len(keys) < limit, nil
	})

	return keys, err
}

func (s *Store) query(ctx context.Context, in *dynamodb.QueryInput, each func(item) error) error {
	return s.page(ctx, in, func(it item) (bool, error) { return true, each(it) })
}

// page reads on until each says stop or nothing is left.
func (s *Store) page(ctx context.Context, in *dynamodb.QueryInput, each func(item) (bool, error)) error {
	for {
		out, err := s.db.Query(ctx, in)
		if err != nil {
			return wrap("read the table", err)
		}

		for _, it := range out.Items {
			if more, err := each(it); err != nil || !more {
				return err
			}
		}

		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}

		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

func newMark() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: https://pkg.go.dev/crypto/rand#Read

	return hex.EncodeToString(b)
}

func encode(pk, sk, mark string, version int64, noun any, extra item) (item, error) {
	body, err := json.Marshal(noun)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", sk, err)
	}

	it := item{"pk": text(pk), "sk": text(sk), "w": text(mark), "version": number(version), "body": text(string(body))}
	for k, v := range extra {
		it[k] = v
	}

	return it, nil
}

func decode(it item, noun any) error {
	if err := json.Unmarshal([]byte(str(it["body"])), noun); err != nil {
		return fmt.Errorf("read item %s of the table: %w", str(it["sk"]), err)
	}

	return nil
}

// unchanged is the condition that an item is still at the version that was read; 0 is an item that must not exist.
func unchanged(read int64) (string, item) {
	if read == 0 {
		return "attribute_not_exists(pk)", nil
	}

	return "#v = :read", item{":read": number(read)}
}

func names(read int64) map[string]string {
	if read == 0 {
		return nil
	}

	return map[string]string{"#v": "version"}
}

// index puts a header where lists and the watchdog look for it.
func index(d *deploy.Deployment) item {
	state := "LIVE"
	if d.Phase == deploy.PhaseDeleted {
		state = "GONE"
	}

	it := item{"gsi1pk": text("T#" + d.Tenant + "#" + state), "gsi1sk": text("D#" + d.Name)}

	if d.Unfinished {
		it["gsi2pk"], it["gsi2sk"] = text(unfinished), text(moment(d.CheckTime))
	}

	return it
}

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
