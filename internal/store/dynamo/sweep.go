package dynamo

import (
	"context"
	"crypto/rand"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

const (
	// sweeping is the one partition of what the sweeper noted.
	sweeping    = "SWEEP"
	sortFamily  = "F#"
	sortOrphan  = "O#"
	lastOfGroup = "\x7f" // behind every name of AWS's
)

// Orphans implements store.Sweeps.
func (s *Store) Orphans(ctx context.Context, size int, after string) (page []deploy.Orphan, more bool, err error) {
	// BETWEEN includes its lower end: one more for that, and one that tells whether there are more.
	in := s.notes(sortOrphan+after, sortOrphan+lastOfGroup)
	in.Limit = limit(size + 2)

	for it, err := range s.query(ctx, in) {
		if err != nil {
			return nil, false, err
		}

		var o deploy.Orphan
		if err := decode(it, &o); err != nil {
			return nil, false, err
		}

		if o.Name() == after {
			continue
		}

		if len(page) == size {
			return page, true, nil
		}

		page = append(page, o)
	}

	return page, false, nil
}

// notes asks for a range of what the sweeper noted.
func (s *Store) notes(low, high string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :low AND :high"),
		ExpressionAttributeValues: item{":pk": text(sweeping), ":low": text(low), ":high": text(high)},
	}
}

// NoteOrphan implements store.Sweeps.
func (s *Store) NoteOrphan(ctx context.Context, o deploy.Orphan) error {
	return wrap("note orphan "+o.Name(), s.note(ctx, sortOrphan+o.Name(), o))
}

// ForgetOrphan implements store.Sweeps.
func (s *Store) ForgetOrphan(ctx context.Context, name string) error {
	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: item{"pk": text(sweeping), "sk": text(sortOrphan + name)}})

	return wrap("forget orphan "+name, err)
}

// Sweeps implements store.Sweeps.
func (s *Store) Sweeps(ctx context.Context) ([]deploy.Sweep, error) {
	var list []deploy.Sweep

	for it, err := range s.query(ctx, s.notes(sortFamily, sortFamily+lastOfGroup)) {
		if err != nil {
			return nil, err
		}

		list = append(list, deploy.Sweep{})
		if err := decode(it, &list[len(list)-1]); err != nil {
			return nil, err
		}
	}

	return list, nil
}

// NoteSweep implements store.Sweeps.
func (s *Store) NoteSweep(ctx context.Context, sweep deploy.Sweep) error {
	return wrap("note the sweep of "+sweep.Family, s.note(ctx, sortFamily+sweep.Family, sweep))
}

// note writes without a condition: of two sweeps at once either note will do.
func (s *Store) note(ctx context.Context, sk string, noun any) error {
	it, err := encode(sweeping, sk, rand.Text(), 1, noun)
	if err != nil {
		return err
	}

	_, err = s.put(ctx, it, condition{})

	return err
}
