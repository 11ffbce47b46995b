package dynamo

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// NoteCallback implements store.Callbacks.
func (s *Store) NoteCallback(ctx context.Context, c deploy.Callback) error {
	it, err := encode(of(familyCallback, c.Key), c.RequestID, rand.Text(), 1, c)
	if err != nil {
		return err
	}

	it["gsi2pk"], it["gsi2sk"] = text(callback), text(moment(c.Deadline))

	_, err = s.put(ctx, it, condition{})

	return wrap("note callback "+c.RequestID, err)
}

// ForgetCallback implements store.Callbacks.
func (s *Store) ForgetCallback(ctx context.Context, key deploy.Key, requestID string) error {
	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.table, Key: item{"pk": text(of(familyCallback, key)), "sk": text(requestID)},
	})

	return wrap("forget callback "+requestID, err)
}

// Callbacks implements store.Callbacks.
func (s *Store) Callbacks(ctx context.Context, key deploy.Key) ([]deploy.Callback, error) {
	return all[deploy.Callback](ctx, s, of(familyCallback, key))
}

// Overdue implements store.Callbacks. The index only tells where to look: what it still shows and the table does not was answered meanwhile.
func (s *Store) Overdue(ctx context.Context, before time.Time, size int) ([]deploy.Callback, error) {
	var list []deploy.Callback

	for it, err := range s.query(ctx, s.due(callback, before, size)) {
		if err != nil {
			return nil, err
		}

		out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: &s.table, ConsistentRead: aws.Bool(true), Key: item{"pk": it["pk"], "sk": it["sk"]},
		})
		if err != nil {
			return nil, wrap("read a callback", err)
		}

		if out.Item == nil {
			continue
		}

		var c deploy.Callback
		if err := decode(out.Item, &c); err != nil {
			return nil, err
		}

		if !c.Deadline.Before(before) {
			continue
		}

		if list = append(list, c); len(list) == size {
			break
		}
	}

	return list, nil
}
