package dynamo_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
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

// TestPages reads pages of a hundred out of a thousand deployments and out of many more: they cost the same, by DynamoDB's own count. Many are 20,000, or as
// many as METAFLOW_DEPLOYER_PAGES says; a million takes DynamoDB Local some minutes to take in. moto has no such count, so tests/dynamodb/run asks DynamoDB
// Local only.
func TestPages(t *testing.T) {
	client := server(t)
	if os.Getenv("METAFLOW_DEPLOYER_DYNAMODB_SERIAL") != "" {
		t.Skip("moto does not count capacity as AWS does")
	}

	table := createTable(t, client)
	many := 20_000

	if text := os.Getenv("METAFLOW_DEPLOYER_PAGES"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil || many < 1000 {
			t.Fatalf("METAFLOW_DEPLOYER_PAGES is %q, want a number from 1,000 on", text)
		}
	}

	seed(t, client, table, "few", 1000)
	seed(t, client, table, "many", many)

	type cost struct {
		queries int
		units   float64
	}

	read := func(tenant string, n int, at float64, filter bool) (cost, time.Duration) {
		db := &metered{Client: client}
		list := store.List{Tenant: tenant, Size: 100, After: name(int(at * float64(n)))}

		if filter {
			list.Match = func(d deploy.Deployment) bool { return d.Phase == deploy.PhaseCreating }
		}

		var times []time.Duration

		for range 5 { // the shortest is the one that nothing disturbed
			db.queries, db.units = 0, 0
			began := time.Now()

			page, more, err := dynamo.New(db, table).Deployments(t.Context(), list)
			if err != nil || len(page) != 100 || !more || page[0].Name <= list.After {
				t.Fatalf("a page of %s: %d, more %v, %v", tenant, len(page), more, err)
			}

			times = append(times, time.Since(began))
		}

		return cost{db.queries, db.units}, slices.Min(times)
	}

	for _, c := range []struct {
		where  string
		at     float64
		filter bool
	}{{"first", 0, false}, {"in the middle", 0.5, false}, {"near the end", 0.85, false}, {"filtered", 0.3, true}} {
		few, fewTook := read("few", 1000, c.at, c.filter)
		much, muchTook := read("many", many, c.at, c.filter)

		t.Logf("page %s: of 1000 %d queries, %.1f units, %v; of %d %d queries, %.1f units, %v; time x %.2f",
			c.where, few.queries, few.units, fewTook, many, much.queries, much.units, muchTook, muchTook.Seconds()/fewTook.Seconds())

		if few != much || few.units == 0 {
			t.Errorf("page %s: of 1000 it costs %+v, of %d %+v", c.where, few, many, much)
		}
	}
}

// name is that of the n-th deployment of a tenant, always of one length: items are priced by their size.
func name(n int) string { return fmt.Sprintf("team-%09d", n) }

// seed writes one deployment as the product does, and its header again and again under other names.
func seed(t *testing.T, client *dynamodb.Client, table, tenant string, n int) {
	t.Helper()

	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := deploy.Key{Tenant: tenant, Name: name(0)}
	d := deploy.Deployment{
		Key: key, Account: "123456789012", Region: "us-east-1", Owner: "someone", Phase: deploy.PhaseCreating, Spec: deploy.Spec{}.WithDefaults(),
		Labels: map[string]string{"team": "ml"}, Operation: key.Name + "-" + strings.Repeat("0", 26), CreateTime: now, UpdateTime: now,
	}

	if err := dynamo.New(client, table).Commit(t.Context(), key, &store.Change{Deployment: &d}); err != nil {
		t.Fatal(err)
	}

	got, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: item{
		"pk": &types.AttributeValueMemberS{Value: "D#" + tenant + "#" + key.Name}, "sk": &types.AttributeValueMemberS{Value: "A#HEAD"},
	}})
	if err != nil || got.Item == nil {
		t.Fatalf("read the header: %v %v", got, err)
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
					out, err := client.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: writes}})
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
			t.Fatal(err)
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
