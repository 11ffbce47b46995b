package dynamo

import (
	"context"
	"crypto/rand"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
)

const (
	audit      = "AUDIT"
	allowances = "GRANTS"
	hooks      = "WEBHOOKS"
)

// entry is the item of an audit entry. template.yaml denies every function to delete one; that none is replaced is the condition of its write.
func entry(mark string, e deploy.Entry) (item, error) {
	it, err := encode(byTenant(e.Tenant, audit), e.ID, mark, 1, e)
	if err != nil {
		return nil, err
	}

	if e.Deployment != "" {
		it["gsi1pk"], it["gsi1sk"] = text(byTenant(e.Tenant, audit+"#"+e.Deployment)), text(e.ID)
	}

	return it, nil
}

func (t *transaction) entry(e deploy.Entry) {
	it, err := entry(t.mark, e)
	t.put(it, unchanged(0), err)
}

// Append implements store.Trail with one conditional write.
func (s *Store) Append(ctx context.Context, e deploy.Entry) error {
	if err := store.Fits(e, e.Tenant); err != nil {
		return err
	}

	it, err := entry(rand.Text(), e)
	if err != nil {
		return err
	}

	old, err := s.put(ctx, it, unchanged(0))
	if err != nil {
		return wrap("write audit entry "+e.ID, err)
	}

	if old != nil {
		return store.ErrStale
	}

	return nil
}

// Entries implements store.Trail: a tenant's whole trail from the table, that of one deployment from the index.
func (s *Store) Entries(
	ctx context.Context, tenant, deployment string, size int, before string,
) (page []deploy.Entry, last string, more bool, err error) {
	in := &dynamodb.QueryInput{
		TableName: &s.table, ScanIndexForward: aws.Bool(false), ConsistentRead: aws.Bool(true), Limit: limit(size + 1),
		ExpressionAttributeValues: item{":pk": text(byTenant(tenant, audit))},
	}
	hash, sort := "pk", "sk"

	if deployment != "" {
		hash, sort = "gsi1pk", "gsi1sk"
		in.IndexName, in.ConsistentRead = aws.String(indexTenant), nil
		in.ExpressionAttributeValues[":pk"] = text(byTenant(tenant, audit+"#"+deployment))
	}

	expression := hash + " = :pk"

	if before != "" {
		expression += " AND " + sort + " < :before"
		in.ExpressionAttributeValues[":before"] = text(before)
	}

	in.KeyConditionExpression = &expression
	last = before

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, "", false, err
		}

		if len(page) == size {
			return page, last, true, nil
		}

		var e deploy.Entry
		if err := decode(it, &e); err != nil {
			return nil, "", false, err
		}

		page, last = append(page, e), e.ID
	}

	return page, last, false, nil
}

// Grants implements store.Grants.
func (s *Store) Grants(ctx context.Context, tenant string) ([]deploy.Grant, error) {
	return all[deploy.Grant](ctx, s, byTenant(tenant, allowances))
}

// all reads a whole partition.
func all[T any](ctx context.Context, s *Store, pk string) ([]T, error) {
	in := &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"), ExpressionAttributeValues: item{":pk": text(pk)},
	}

	var list []T

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, err
		}

		var v T
		if err := decode(it, &v); err != nil {
			return nil, err
		}

		list = append(list, v)
	}

	return list, nil
}

func grantSort(g deploy.Grant) string { return string(g.Kind) + "#" + g.Value }

// Allow implements store.Grants.
func (s *Store) Allow(ctx context.Context, g deploy.Grant, e deploy.Entry) error {
	return wrap("write a grant", s.noting(ctx, g.Tenant, e, store.ErrStale, func(t *transaction) {
		it, err := encode(byTenant(g.Tenant, allowances), grantSort(g), t.mark, 1, g)
		t.put(it, condition{}, err)
	}))
}

// Withdraw implements store.Grants.
func (s *Store) Withdraw(ctx context.Context, g deploy.Grant, e deploy.Entry) error {
	return wrap("drop a grant", s.noting(ctx, g.Tenant, e, store.ErrNotFound, func(t *transaction) {
		t.drop(byTenant(g.Tenant, allowances), grantSort(g), there())
	}))
}

// Webhooks implements store.Webhooks.
func (s *Store) Webhooks(ctx context.Context, tenant string) ([]deploy.Webhook, error) {
	return all[deploy.Webhook](ctx, s, byTenant(tenant, hooks))
}

// Subscribe implements store.Webhooks.
func (s *Store) Subscribe(ctx context.Context, w deploy.Webhook, e deploy.Entry) error {
	return wrap("write webhook "+w.ID, s.noting(ctx, w.Tenant, e, store.ErrStale, func(t *transaction) {
		it, err := encode(byTenant(w.Tenant, hooks), w.ID, t.mark, 1, w)
		t.put(it, unchanged(0), err)
	}))
}

// Unsubscribe implements store.Webhooks.
func (s *Store) Unsubscribe(ctx context.Context, tenant, id string, e deploy.Entry) error {
	return wrap("drop webhook "+id, s.noting(ctx, tenant, e, store.ErrNotFound, func(t *transaction) { t.drop(byTenant(tenant, hooks), id, there()) }))
}

// noting writes an entry in the trail together with what add adds, whose failed condition means otherwise.
func (s *Store) noting(ctx context.Context, tenant string, e deploy.Entry, otherwise error, add func(*transaction)) error {
	if err := store.Fits(e, tenant); err != nil {
		return err
	}

	t := s.begin()
	t.entry(e)
	add(t)

	failed, err := s.send(ctx, t)

	switch {
	case err != nil:
		return err
	case failed == nil:
		return nil
	case isFailed(failed[0]):
		return store.ErrStale
	default:
		return otherwise
	}
}
