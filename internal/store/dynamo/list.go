package dynamo

import (
	"context"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

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
	high := sortOperation + "~" // behind every character of an id
	if after != "" {
		high = sortOperation + after
	}

	in := &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :low AND :high"),
		ExpressionAttributeValues: item{":pk": text(partition(key)), ":low": text(sortOperation), ":high": text(high)},
		Limit:                     limit(size + 1), // BETWEEN includes its end
	}

	var ops []deploy.Operation

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, err
		}

		var op deploy.Operation
		if err := decode(it, &op); err != nil {
			return nil, err
		}

		if op.ID == after {
			continue
		}

		if ops = append(ops, op); len(ops) == size {
			break
		}
	}

	return ops, nil
}

// scanned bounds how many headers one page of a filtered list may look at.
const scanned = 500

// Deployments implements store.Store. It looks at headers in the order of their names, at most 500 of them: a page that a filter left short, or even
// empty, goes on behind the last name that list.Match was shown.
func (s *Store) Deployments(ctx context.Context, list store.List) (page []deploy.Deployment, more bool, err error) {
	looked := 0

	for d, err := range s.headers(ctx, list) {
		if err != nil {
			return nil, false, err
		}

		if looked == scanned {
			return page, true, nil
		}

		looked++

		if list.Match != nil && !list.Match(d) {
			continue
		}

		if len(page) == list.Size {
			return page, true, nil
		}

		page = append(page, d)
	}

	return page, false, nil
}

// headers are a tenant's by name: the living and, if asked for, the deleted ones merged in.
func (s *Store) headers(ctx context.Context, list store.List) iter.Seq2[deploy.Deployment, error] {
	if !list.Deleted {
		return s.half(ctx, list, live)
	}

	return func(yield func(deploy.Deployment, error) bool) {
		nextLive, stopLive := iter.Pull2(s.half(ctx, list, live))
		defer stopLive()

		nextGone, stopGone := iter.Pull2(s.half(ctx, list, gone))
		defer stopGone()

		a, errA, okA := nextLive()
		b, errB, okB := nextGone()

		for okA || okB {
			switch {
			case errA != nil || errB != nil:
				yield(deploy.Deployment{}, firstOf(errA, errB))

				return
			case okA && okB && a.Name == b.Name:
				// The index is being moved from one half to the other; the newer one is right.
				if a.Version < b.Version {
					a = b
				}

				b, errB, okB = nextGone()
			case !okB || okA && a.Name < b.Name:
				if !yield(a, nil) {
					return
				}

				a, errA, okA = nextLive()
			default:
				if !yield(b, nil) {
					return
				}

				b, errB, okB = nextGone()
			}
		}
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}

	return b
}

func (s *Store) half(ctx context.Context, list store.List, half string) iter.Seq2[deploy.Deployment, error] {
	// One more than the page tells whether there are more; behind a filter, a Query per handful would be many.
	size := list.Size + 1
	if list.Match != nil {
		size = max(size, 100)
	}

	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexTenant),
		KeyConditionExpression:    aws.String("gsi1pk = :pk AND gsi1sk > :after"),
		ExpressionAttributeValues: item{":pk": text(byTenant(list.Tenant, half)), ":after": text(byName(list.After))},
		Limit:                     limit(size),
	}

	return func(yield func(deploy.Deployment, error) bool) {
		for it, err := range s.query(ctx, in) {
			var d deploy.Deployment
			if err == nil {
				err = decode(it, &d)
			}

			if !yield(d, err) {
				return
			}
		}
	}
}

// Unfinished implements store.Store on the sparse index.
func (s *Store) Unfinished(ctx context.Context, before time.Time, size int) ([]deploy.Key, error) {
	return s.keys(ctx, s.due(unfinished, before, size), size)
}

// query reads on, page by page, for as long as it is asked for more. An error is the last thing it yields.
func (s *Store) query(ctx context.Context, in *dynamodb.QueryInput) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for {
			out, err := s.db.Query(ctx, in)
			if err != nil {
				yield(nil, wrap("read the table", err))

				return
			}

			for _, it := range out.Items {
				if !yield(it, nil) {
					return
				}
			}

			if len(out.LastEvaluatedKey) == 0 {
				return
			}

			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}

func limit(size int) *int32 { return aws.Int32(int32(min(size, 1000))) } //nolint:gosec // bounded by 1,000
