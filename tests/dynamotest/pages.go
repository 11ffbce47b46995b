package dynamotest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
)

// item is a record as DynamoDB keeps it.
type item = map[string]types.AttributeValue

// metered asks DynamoDB what each Query costs.
type metered struct {
	*dynamodb.Client

	queries int
	units   float64
}

func (m *metered) Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal

	out, err := m.Client.Query(ctx, in, opts...)
	if err == nil && out.ConsumedCapacity != nil {
		m.queries++
		m.units += aws.ToFloat64(out.ConsumedCapacity.CapacityUnits)
	}

	return out, err
}

// Page is a page of a hundred out of few deployments and out of many.
type Page struct {
	// Where in the list it stands.
	Where string
	// Few and Many are what reading it costs.
	Few, Many Cost
}

// Cost is what reading a page costs: read capacity units by DynamoDB's own count, and the shortest time of several.
type Cost struct {
	Queries int
	Units   float64
	Took    time.Duration
}

// Pages writes that many deployments of two tenants and reads pages at several places of their lists, one of them through a filter. A million deployments take
// DynamoDB Local some minutes to take in.
func Pages(tb testing.TB, client *dynamodb.Client, few, many int) []Page {
	tb.Helper()

	table := Table(tb, client)

	seed(tb, client, table, "few", few)
	seed(tb, client, table, "many", many)

	read := func(tenant string, n int, at float64, filter bool) Cost {
		db := &metered{Client: client}
		list := store.List{Tenant: tenant, Size: 100, After: name(int(at * float64(n)))}

		if filter {
			list.Match = func(d deploy.Deployment) bool { return d.Phase == deploy.PhaseCreating }
		}

		var times []time.Duration

		for range 5 { // the shortest is the one that nothing disturbed
			db.queries, db.units = 0, 0
			began := time.Now()

			page, more, err := dynamo.New(db, table).Deployments(tb.Context(), list)
			if err != nil || len(page) != list.Size || !more || page[0].Name <= list.After {
				tb.Fatalf("a page of %s: %d, more %v, %v", tenant, len(page), more, err)
			}

			times = append(times, time.Since(began))
		}

		return Cost{db.queries, db.units, slices.Min(times)}
	}

	var pages []Page

	for _, p := range []struct {
		where  string
		at     float64
		filter bool
	}{{"the first", 0, false}, {"in the middle", 0.5, false}, {"near the end", 0.85, false}, {"filtered", 0.3, true}} {
		pages = append(pages, Page{Where: p.where, Few: read("few", few, p.at, p.filter), Many: read("many", many, p.at, p.filter)})
	}

	return pages
}

// name is that of the n-th deployment of a tenant, always of one length: items are priced by their size.
func name(n int) string { return fmt.Sprintf("team-%09d", n) }

// seed writes one deployment as the product does, and its header again and again under other names.
func seed(tb testing.TB, client *dynamodb.Client, table, tenant string, n int) {
	tb.Helper()

	ctx := tb.Context()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := deploy.Key{Tenant: tenant, Name: name(0)}
	d := deploy.Deployment{
		Key: key, Account: "123456789012", Region: "us-east-1", Owner: "someone", Phase: deploy.PhaseCreating, Spec: deploy.Spec{}.WithDefaults(),
		Labels: map[string]string{"team": "ml"}, Operation: key.Name + "-" + strings.Repeat("0", 26), CreateTime: now, UpdateTime: now,
	}

	if err := dynamo.New(client, table).Commit(ctx, key, &store.Change{Deployment: &d}); err != nil {
		tb.Fatal(err)
	}

	got, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{
		"pk": &types.AttributeValueMemberS{Value: "D#" + tenant + "#" + key.Name}, "sk": &types.AttributeValueMemberS{Value: "A#HEAD"},
	}})
	if err != nil || got.Item == nil {
		tb.Fatalf("read the header: %v %v", got, err)
	}

	const writers, batch = 8, 25

	var next atomic.Int64

	next.Store(1)

	done := make(chan error, writers)

	for range writers {
		go func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					done <- nil

					return
				}

				var writes []types.WriteRequest
				for i := from; i < min(from+batch, n); i++ {
					writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: renamed(got.Item, key.Name, name(i))}})
				}

				for len(writes) > 0 {
					out, err := client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: writes}})
					if err != nil {
						done <- err

						return
					}

					writes = out.UnprocessedItems[table]
				}
			}
		}()
	}

	for range writers {
		if err := <-done; err != nil {
			tb.Fatal(err)
		}
	}
}

func renamed(it item, from, to string) item {
	out := item{}

	for k, v := range it {
		if s, ok := v.(*types.AttributeValueMemberS); ok {
			v = &types.AttributeValueMemberS{Value: strings.ReplaceAll(s.Value, from, to)}
		}

		out[k] = v
	}

	return out
}
