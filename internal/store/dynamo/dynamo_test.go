package dynamo_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/dynamo"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/storetest"
)

// TestSuite runs against our own fake of DynamoDB, which cuts every Query into pages of three items.
func TestSuite(t *testing.T) {
	storetest.Suite(t, func(_ *testing.T, now func() time.Time) store.Store {
		f := newFake()
		s := listening{dynamo.New(f, "table"), f, "table"}
		s.Now = now

		return s
	})
}

// listening shows the events that stand in the table. The product reads them off its stream.
type listening struct {
	*dynamo.Store

	db interface {
		Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	}
	table string
}

func (l listening) Events(ctx context.Context, key deploy.Key) ([]deploy.Event, error) {
	in := &dynamodb.QueryInput{
		TableName: &l.table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": &types.AttributeValueMemberS{Value: "E#" + url.PathEscape(key.Tenant) + "#" + key.Name}},
	}

	var list []deploy.Event

	for {
		out, err := l.db.Query(ctx, in)
		if err != nil {
			return nil, err
		}

		for _, it := range out.Items {
			e, ok, err := dynamo.EventOf(value(it["pk"]), value(it["body"]))
			if err != nil || !ok {
				return nil, fmt.Errorf("item %v is no event: %w", it, err)
			}

			// DynamoDB forgets it after 30 days.
			if want := strconv.FormatInt(e.Time.Add(30*24*time.Hour).Unix(), 10); value(it["expires"]) != want {
				return nil, fmt.Errorf("event %d goes at %s, want %s", e.Sequence, value(it["expires"]), want)
			}

			list = append(list, e)
		}

		if out.LastEvaluatedKey == nil {
			return list, nil
		}

		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// TestSuiteServer runs against a server that speaks DynamoDB's API, such as DynamoDB Local or moto.
func TestSuiteServer(t *testing.T) {
	client := server(t)
	table := createTable(t, client)

	storetest.Suite(t, func(_ *testing.T, now func() time.Time) store.Store {
		s := listening{dynamo.New(client, table), client, table}
		s.Now = now

		return s
	})
}

// server is the client of the endpoint that METAFLOW_DEPLOYER_DYNAMODB names.
func server(t *testing.T, options ...func(*dynamodb.Options)) *dynamodb.Client {
	t.Helper()

	endpoint := os.Getenv("METAFLOW_DEPLOYER_DYNAMODB")
	if endpoint == "" {
		t.Skip("METAFLOW_DEPLOYER_DYNAMODB names no endpoint")
	}

	o := dynamodb.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}
	if os.Getenv("METAFLOW_DEPLOYER_DYNAMODB_SERIAL") != "" {
		o.HTTPClient = &serial{}
	}

	return dynamodb.New(o, options...)
}

// serial sends transactions while nothing else is under way. moto undoes a refused transaction by putting back the whole table, and with it what others
// wrote meanwhile; the local gateway corrects that in the same way.
type serial struct{ mu sync.RWMutex }

func (s *serial) Do(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		s.mu.Lock()
		defer s.mu.Unlock()
	} else {
		s.mu.RLock()
		defer s.mu.RUnlock()
	}

	return http.DefaultClient.Do(r)
}

// createTable makes the table as template.yaml describes it, save the stream: the suite does not read it, and moto copies it whole with each transaction.
func createTable(t *testing.T, client *dynamodb.Client) string {
	t.Helper()

	name := fmt.Sprintf("records-%d", time.Now().UnixNano())
	in := &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest, KeySchema: keySchema("pk", "sk"),
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{
			{IndexName: aws.String("tenant-index"), KeySchema: keySchema("gsi1pk", "gsi1sk"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll}},
			{
				IndexName: aws.String("unfinished-index"), KeySchema: keySchema("gsi2pk", "gsi2sk"),
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			},
		},
	}

	for _, a := range []string{"pk", "sk", "gsi1pk", "gsi1sk", "gsi2pk", "gsi2sk"} {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &a, AttributeType: types.ScalarAttributeTypeS})
	}

	if _, err := client.CreateTable(t.Context(), in); err != nil {
		t.Fatalf("create table: %v", err)
	}

	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Errorf("delete table: %v", err)
		}
	})

	if err := dynamodb.NewTableExistsWaiter(client).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, time.Minute); err != nil {
		t.Fatalf("wait for the table: %v", err)
	}

	if _, err := client.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName: &name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	}); err != nil {
		t.Fatalf("set the table's TTL: %v", err)
	}

	return name
}

func keySchema(hash, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange}}
}
